"""The Ray Serve deployment that holds one version of a model."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ray import serve
from ray.serve import Application

from components.serving.answering import Answering
from components.serving.engine import Event
from components.serving.engines import open_engine


class ReplicaArgs(BaseModel):
    """What to load, and with how many threads to compute."""

    folder: str
    digest: str
    threads: int = 1


@serve.deployment(name="Replica")
class Replica:
    """An engine on Ray Serve. A folder that is not what its digest says never becomes a replica."""

    def __init__(self, folder: str, digest: str, threads: int) -> None:
        self._answering = Answering(open_engine(Path(folder), digest, threads))

    async def stream(self, job: dict[str, Any]) -> AsyncGenerator[Event]:
        """The events of one request; a caller that goes away stops the computation."""
        async with aclosing(self._answering.stream(job)) as events:
            async for event in events:
                yield event


def build(args: ReplicaArgs) -> Application:
    """The application for one version; `import_path` of a Serve config."""
    return Replica.bind(args.folder, args.digest, args.threads)  # type: ignore[attr-defined]
