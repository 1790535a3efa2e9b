"""The variables by which plain clients reach the services of a home: prefect, mlflow, ray, serve, openai and curl."""

import os
import sys
from pathlib import Path

from components.errors import ServiceError
from components.services import mlflow, prefect
from components.services.engine import Engine
from components.services.processes import HOME, SERVICE
from components.services.ray import LOOPBACK
from components.services.secrets import secret_file
from components.services.site import Site, site_of
from components.settings import TELEMETRY_OFF

LEDGER = "HEADWATER_LEDGER_URL"


def environment(home: Path) -> dict[str, str]:
    """What a client needs, as `headwater env` prints it; raises ServiceError where nothing was started yet."""
    site = site_of(home)
    if not site.records:
        raise ServiceError(f"No services are recorded in {site.home}: start them with `headwater up`.")
    return clients(site) | _past_proxies()


def clients(site: Site) -> dict[str, str]:
    """The variables of every client, the services' own children among them."""
    dashboard = site.url("ray")
    elsewhere = {LEDGER: os.environ[LEDGER]} if LEDGER in os.environ else {}
    return (
        TELEMETRY_OFF
        | elsewhere
        | {
            HOME: str(site.home),
            "PREFECT_HOME": str(site.home / "prefect"),
            "PREFECT_API_URL": f"{site.url('prefect')}/api",
            "PREFECT_API_AUTH_STRING": prefect.login(site),
            "MLFLOW_TRACKING_URI": site.url("mlflow"),
            "MLFLOW_TRACKING_USERNAME": mlflow.USER,
            "MLFLOW_TRACKING_PASSWORD": site.secret("mlflow_password"),
            "RAY_ADDRESS": f"127.0.0.1:{site.port('ray', 'gcs')}",
            **LOOPBACK,
            # `ray job` reads the first, `serve` the second.
            "RAY_API_SERVER_ADDRESS": dashboard,
            "RAY_DASHBOARD_ADDRESS": dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(secret_file(site.home, "ray_token")),
            "OPENAI_BASE_URL": f"{site.url('serve')}/v1",
            "OPENAI_API_KEY": site.secret("api_key"),
        }
    )


def settings_of(engine: Engine, site: Site) -> dict[str, str]:
    """What decides how `engine` runs for this home, apart from its command."""
    kept = {name: value for name, value in clients(site).items() if name not in engine.without}
    return kept | engine.environment(site) | {SERVICE: engine.name, "PYTHONUNBUFFERED": "1"}


def child_environment(engine: Engine, site: Site) -> dict[str, str]:
    """The whole environment of the process of `engine`: the caller's, with ours above it."""
    inherited = {name: value for name, value in os.environ.items() if name not in engine.without}
    # Jobs and flows say `python` and mean the one that runs us.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return inherited | settings_of(engine, site) | _past_proxies() | {"PATH": path}


def _past_proxies() -> dict[str, str]:
    """Where the caller goes through a proxy: loopback is not to be asked of it."""
    if not any(name.lower() in ("http_proxy", "all_proxy") for name in os.environ):
        return {}
    hosts = (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(",")
    spared = ",".join(dict.fromkeys([*filter(None, hosts), "127.0.0.1", "localhost"]))
    return {"NO_PROXY": spared, "no_proxy": spared}
