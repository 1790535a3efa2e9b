"""The MLflow server: runs and registry in SQLite, artifacts proxied into the home, basic authentication."""

from pathlib import Path

from components.services.engine import Engine, basic, refusal
from components.services.processes import program
from components.services.site import Site

USER = "headwater"


def prepare(site: Site) -> None:
    """Write the configuration of its users' database, which must not lie in the working directory."""
    folder = _folder(site)
    folder.mkdir(parents=True, exist_ok=True)
    database = str(folder / "users.db").replace("%", "%%")  # configparser reads % as the start of a reference
    _users(site).write_text(
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{database}\n"
        f"admin_username = {USER}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # A password costs a tenth of a second to check; one worker, so no other one holds a stale answer.
        "auth_cache_ttl_seconds = 60\n"
    )


def _folder(site: Site) -> Path:
    return site.home / "mlflow"


def _users(site: Site) -> Path:
    return _folder(site) / "users.ini"


def _command(site: Site) -> list[str]:
    return [
        program("mlflow"),
        "server",
        *("--host", "127.0.0.1", "--port", str(site.port("mlflow")), "--workers", "1", "--app-name", "basic-auth"),
        *("--backend-store-uri", f"sqlite:///{_folder(site) / 'mlflow.db'}"),
        *("--artifacts-destination", str(_folder(site) / "artifacts")),
    ]


def _environment(site: Site) -> dict[str, str]:
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(_users(site)),
        "MLFLOW_AUTH_ADMIN_PASSWORD": site.secret("mlflow_password"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": site.secret("mlflow_session_key"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _ailment(site: Site) -> str | None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    return refusal(site.port("mlflow"), path, basic(USER, site.secret("mlflow_password")))


MLFLOW = Engine("mlflow", {"http": 5000}, _command, _environment, _ailment, without=("MLFLOW_TRACKING_URI",))
