"""Answers without blocking: the engine computes in threads, and its events arrive on the event loop."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from components.serving.api_errors import ApiError, ReplicaLost
from components.serving.catalogue import Catalogue, Served
from components.serving.engine import Event
from components.serving.engines import Holder

log = logging.getLogger(__name__)


class Answering:
    """An engine for many callers: `concurrency` requests take turns at each token, more wait in line."""

    def __init__(self, engine: Holder, concurrency: int = 4) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="answer")

    async def stream(self, job: dict[str, Any]) -> AsyncGenerator[Event]:
        """The events of `job`; leaving the iteration stops the computation at the next token."""
        loop, events, cancelled = asyncio.get_running_loop(), asyncio.Queue[Event | None](), threading.Event()

        def put(event: Event | None) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        self._pool.submit(self._compute, job, cancelled, put)
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            cancelled.set()

    def _compute(self, job: dict[str, Any], cancelled: threading.Event, put: Any) -> None:
        try:
            self._check(job)
            for event in self._engine.answers(job, cancelled.is_set):
                if cancelled.is_set():
                    return
                put(event)
        except ApiError as error:
            put(error.event())
        except Exception:
            log.exception("The engine failed on a request.")
            put(ApiError(500, "The model failed on this request.", code="engine_failed").event())
        finally:
            put(None)

    def _check(self, job: dict[str, Any]) -> None:
        """Refuse what is meant for another version, or for a model of another kind."""
        if job["digest"] != self._engine.digest:
            raise ApiError(503, "This replica holds another version of the model.", code="model_mismatch")
        if job["endpoint"] not in self._engine.endpoints:
            answered = " and ".join(f"/v1/{name}" for name in self._engine.endpoints)
            message = f"This model answers {answered}, not /v1/{job['endpoint']}."
            raise ApiError(400, message, param="model", code="wrong_endpoint")


class LocalBackend:
    """Models answered in this process, for a notebook or a test: the catalogue's `app` names an entry of `engines`."""

    def __init__(self, catalogue: Catalogue, engines: dict[str, Answering]) -> None:
        self.catalogue = catalogue
        self._engines = engines

    async def stream(self, served: Served, job: dict[str, Any]) -> AsyncGenerator[Event]:
        """The events of `job` from the model `served`."""
        if served.app not in self._engines:
            raise ReplicaLost(served.app)
        async with aclosing(self._engines[served.app].stream(job)) as events:
            async for event in events:
                yield event
