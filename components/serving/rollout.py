"""What should be served, and bringing Ray Serve to it: over its REST interface, without importing Ray."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from components.errors import ServiceError
from components.serving.catalogue import Served

PATH = "/api/serve/applications/"
ROUTER = "router"
FAILED = "DEPLOY_FAILED"
JSON = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """One version of a model that should be served."""

    name: str
    version: str
    digest: str
    folder: Path
    replicas: int = 1
    threads: int = 1
    champion: bool = False
    created: int = 0
    """Unix seconds; what /v1/models says."""

    @property
    def app(self) -> str:
        """The name of its Serve application."""
        return f"{self.name}-{self.version}"


def desired(releases: list[Release], *, port: int, api_key_file: Path, host: str = "127.0.0.1") -> JSON:
    """The whole Serve config: the router at "/" and one application a version. The order of `releases` is no matter."""
    ordered = sorted(releases, key=lambda release: (release.name, release.version))
    models = [
        Served(r.name, r.version, r.digest, r.app, r.champion, r.created).row() for r in ordered
    ]  # fmt: skip
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": host, "port": port},
        "applications": [_router(models, api_key_file), *(_replicas(release) for release in ordered)],
    }


def _router(models: list[JSON], api_key_file: Path) -> JSON:
    deployment = {
        "name": "Router",
        "num_replicas": 1,
        "max_ongoing_requests": 200,
        "ray_actor_options": {"num_cpus": 0.1},
        "user_config": {"models": models},
    }
    return {
        "name": ROUTER,
        "route_prefix": "/",
        "import_path": "components.serving.router:build",
        "args": {"api_key_file": str(api_key_file)},
        "deployments": [deployment],
    }


def _replicas(release: Release) -> JSON:
    deployment = {
        "name": "Replica",
        "num_replicas": release.replicas,
        "max_ongoing_requests": 32,
        "max_queued_requests": 256,
        "graceful_shutdown_timeout_s": 60.0,
        "ray_actor_options": {"num_cpus": 0.1},
    }
    return {
        "name": release.app,
        "route_prefix": None,
        "import_path": "components.serving.replica:build",
        "args": {"folder": str(release.folder), "digest": release.digest, "threads": release.threads},
        "deployments": [deployment],
    }


def look(dashboard: str, token: str) -> JSON:
    """What Ray Serve serves now, as its REST interface tells. Raises ServiceError."""
    return _call(dashboard, token, "GET").json()


def reconcile(want: JSON, *, dashboard: str, token: str, timeout: float = 120) -> bool:
    """Bring Ray Serve to `want` and wait until all of it is healthy; whether anything had to change.

    Versions that are no longer wanted stay until the router has let go of them, so that no request is lost. Raises
    ServiceError if an application fails or `timeout` (seconds) has passed; then what was served before is still there.
    """
    deadline = time.monotonic() + timeout
    now = look(dashboard, token)["applications"]
    failed = {name for name, app in now.items() if app["status"] == FAILED}
    if _same(want, now) and not failed:
        _wait(want, dashboard, token, deadline)
        return False
    names = {app["name"] for app in want["applications"]}
    leaving = [app["deployed_app_config"] for name, app in now.items() if name not in names | failed]
    arriving = [app for app in want["applications"] if app["name"] != ROUTER and app["name"] not in now]
    router = now.get(ROUTER, {}).get("deployed_app_config")
    if router and arriving:  # the router hears of a version when it can answer
        staged = [router, *(app for app in want["applications"] if app["name"] != ROUTER), *leaving]
        _apply(want | {"applications": staged}, dashboard, token, deadline)
    if leaving:
        _apply(want | {"applications": [*want["applications"], *leaving]}, dashboard, token, deadline)
    _apply(want, dashboard, token, deadline)
    return True


def _apply(config: JSON, dashboard: str, token: str, deadline: float) -> None:
    _call(dashboard, token, "PUT", json=config)
    _wait(config, dashboard, token, deadline)


def _same(want: JSON, now: JSON) -> bool:
    """Whether every wanted application is deployed as wanted and there is no other."""
    wanted = {app["name"]: app for app in want["applications"]}
    return set(wanted) == set(now) and all(
        _within(app, now[name]["deployed_app_config"]) for name, app in wanted.items()
    )


def _within(part: Any, whole: Any) -> bool:
    """Whether `whole`, which has Serve's defaults in it, says all that `part` says."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(_within(value, whole.get(key)) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(_within, part, whole))
    return part == whole


def _wait(config: JSON, dashboard: str, token: str, deadline: float) -> None:
    names = {app["name"] for app in config["applications"]}
    while True:
        apps = look(dashboard, token)["applications"]
        for name in names & set(apps):
            if apps[name]["status"] == FAILED:
                raise ServiceError(f"Ray Serve cannot run {name}: {_reason(apps[name])}")
        if set(apps) == names and all(map(_healthy, apps.values())):
            return
        if time.monotonic() > deadline:
            states = ", ".join(f"{name} {app['status']}" for name, app in sorted(apps.items()))
            raise ServiceError(f"Ray Serve did not become healthy in time ({states}).")
        time.sleep(0.2)


def _healthy(app: JSON) -> bool:
    return app["status"] == "RUNNING" and all(d["status"] == "HEALTHY" for d in app["deployments"].values())


def _reason(app: JSON) -> str:
    """The last line that says something of what Ray tells about a failure."""
    told = [app["message"], *(d["message"] for d in app["deployments"].values())]
    lines = [line.strip() for message in told for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return (errors or lines or ["no reason given"])[-1][:300]


def _call(dashboard: str, token: str, method: str, **content: Any) -> httpx.Response:
    try:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(
            method, dashboard.rstrip("/") + PATH, headers=headers, timeout=60, trust_env=False, **content
        )
    except httpx.HTTPError as error:
        raise ServiceError(f"Ray's dashboard at {dashboard} does not answer: {error}.") from None
    if answer.status_code != 200:
        raise ServiceError(f"Ray's dashboard at {dashboard} says {answer.status_code}: {answer.text[:300]}")
    return answer
