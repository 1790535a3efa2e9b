"""The Ray Serve deployment in front: keys, names and OpenAI's shapes; it holds no model and imports no torch."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ray import serve
from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from components.serving.access import read_keys
from components.serving.api_errors import ApiError, ReplicaLost
from components.serving.app import build_app
from components.serving.catalogue import Catalogue, Served
from components.serving.engine import Event


class RouterArgs(BaseModel):
    """Facts of this machine."""

    api_key_file: str


@serve.deployment(name="Router")
@serve.ingress()
class Router:
    """The endpoint. Which versions exist comes as user_config, so a change of champion restarts nothing."""

    def __init__(self, api_key_file: str) -> None:
        self.catalogue = Catalogue([])
        self._keys = read_keys(Path(api_key_file))
        self._handles: dict[str, DeploymentHandle] = {}

    def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve calls this after the constructor and serves what it returns."""
        return build_app(self, self._keys)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over the versions of `user_config`: {"models": [fields of catalogue.Served]}."""
        self.catalogue = Catalogue(user_config["models"])
        apps = {served.app for served in self.catalogue.served}
        self._handles = {app: handle for app, handle in self._handles.items() if app in apps}

    async def stream(self, served: Served, job: dict[str, Any]) -> AsyncGenerator[Event]:
        """The events of one request from a replica of `served`; raises ReplicaLost if it goes away meanwhile."""
        answers: Any = None
        try:
            answers = self._handle(served.app).stream.remote(job)
            async for event in answers:
                yield event
        except BackPressureError:
            raise ApiError(503, "Too many requests are waiting for this model.", code="busy") from None
        except (RayActorError, RayTaskError, RayServeException) as error:
            if isinstance(error, TaskCancelledError):
                raise
            raise ReplicaLost(type(error).__name__) from error
        finally:
            if answers is not None:
                answers.cancel()  # does nothing to an answer that is complete

    def _handle(self, app: str) -> DeploymentHandle:
        if app not in self._handles:
            self._handles[app] = serve.get_app_handle(app).options(stream=True)
        return self._handles[app]


def build(args: RouterArgs) -> Application:
    """The router's application; `import_path` of a Serve config."""
    return Router.bind(args.api_key_file)  # type: ignore[attr-defined]
