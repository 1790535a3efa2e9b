"""The Prefect server: API and UI on loopback, state in SQLite, one shared user and password."""

from components.services.engine import Engine, basic, refusal
from components.services.processes import program
from components.services.site import Site

USER = "headwater"


def login(site: Site) -> str:
    """USER:PASSWORD as PREFECT_API_AUTH_STRING wants it."""
    return f"{USER}:{site.secret('prefect_password')}"


def authorization(site: Site) -> str:
    """The Authorization header that the API accepts."""
    return basic(USER, site.secret("prefect_password"))


def _command(site: Site) -> list[str]:
    return [program("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(site.port("prefect"))]


def _environment(site: Site) -> dict[str, str]:
    port = site.port("prefect")
    database = site.home / "prefect" / "prefect.db"
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_API_AUTH_STRING": login(site),
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        # Slots of a concurrency limit are leases; those kept in memory, a server that was killed would never give back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # The block catalogue is of no use here and takes seconds at every start.
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def _ailment(site: Site) -> str | None:
    return refusal(site.port("prefect"), "/api/admin/version", authorization(site))


PREFECT = Engine("prefect", {"http": 4200}, _command, _environment, _ailment)
