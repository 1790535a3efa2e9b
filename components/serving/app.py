"""The endpoint as a FastAPI application: OpenAI's paths and shapes over a backend that answers."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from components.serving.access import KeyRequired
from components.serving.answers import Answer, ChatAnswer, CompletionAnswer
from components.serving.api_errors import ApiError, ReplicaLost, from_event
from components.serving.catalogue import Catalogue, Served, model_row
from components.serving.classified import ClassificationAnswer
from components.serving.drawn import ImagesAnswer
from components.serving.engine import Event
from components.serving.marked import MarkedAnswer
from components.serving.schema import (
    AnswersRequest,
    ChatRequest,
    ClassificationsRequest,
    CompletionRequest,
    EmbeddingsRequest,
    ImagesRequest,
)
from components.serving.vectors import EmbeddingsAnswer

log = logging.getLogger(__name__)
MAX_BODY = 2**20
FIRST_EVENT_SECONDS = 60.0
R = TypeVar("R", bound=BaseModel)


class Backend(Protocol):
    """Where models live."""

    catalogue: Catalogue

    def stream(self, served: Served, job: dict[str, Any]) -> AsyncGenerator[Event]:
        """The events of one request; raises ReplicaLost if the replica goes away."""


def build_app(backend: Backend, keys: frozenset[bytes]) -> FastAPI:
    """The endpoint over `backend` for holders of `keys` (SHA-256 of each)."""
    app = FastAPI(title="Headwater", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(KeyRequired, keys=keys)
    _speak_openai_errors(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        ready = bool(backend.catalogue.served)
        return JSONResponse({"status": "ready" if ready else "no model yet"}, 200 if ready else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": backend.catalogue.listing()}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        return model_row(model, backend.catalogue.resolve(model))

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        asked = await _read(request, CompletionRequest)
        return await _answer(
            backend, request, asked, partial(_written, asked, CompletionAnswer, asked.logprobs is not None)
        )

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = await _read(request, ChatRequest)
        return await _answer(backend, request, asked, partial(_written, asked, ChatAnswer, bool(asked.logprobs)))

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        asked = await _read(request, EmbeddingsRequest)
        answer = partial(EmbeddingsAnswer, in_base64=asked.encoding_format == "base64")
        return await _answer(backend, request, asked, partial(_at_once, answer))

    @app.post("/v1/classifications")
    async def classifications(request: Request) -> Response:
        asked = await _read(request, ClassificationsRequest)
        return await _answer(backend, request, asked, partial(_at_once, ClassificationAnswer))

    @app.post("/v1/answers")
    async def answers(request: Request) -> Response:
        asked = await _read(request, AnswersRequest)
        return await _answer(backend, request, asked, partial(_at_once, MarkedAnswer))

    @app.post("/v1/images/generations")
    async def images(request: Request) -> Response:
        asked = await _read(request, ImagesRequest)
        return await _answer(backend, request, asked, partial(_at_once, ImagesAnswer))

    return app


async def _answer(
    backend: Backend, request: Request, asked: Any, work: Callable[[Served, AsyncGenerator[Event]], Awaitable[Response]]
) -> Response:
    """Have `work` answer from the events of a replica. What has not sent a byte is asked once more when it is lost."""
    for last in (False, True):
        served = backend.catalogue.resolve(asked.model)  # again: the other version may have taken over
        events = backend.stream(served, asked.job(served.digest))
        try:
            return await _unless_disconnected(request, work(served, events))
        except ReplicaLost as lost:
            log.warning("The replica of %s was lost (%s).", served.id, lost)
            if last:
                break
    raise ApiError(503, f"The model {served.id} does not answer at the moment; try again.", code="replica_lost")


def _written(
    asked: Any, shape: type[Answer], wants_logprobs: bool, served: Served, events: AsyncGenerator[Event]
) -> Awaitable[Response]:
    """Text, whole or as a stream."""
    work = _stream if asked.stream else _whole
    return work(events, shape(served, include_usage=asked.include_usage), wants_logprobs)


async def _at_once(
    shape: Callable[[Served], EmbeddingsAnswer | ClassificationAnswer | MarkedAnswer | ImagesAnswer],
    served: Served,
    events: AsyncGenerator[Event],
) -> Response:
    """An answer that is one event."""
    answer = shape(served)
    async with aclosing(events):
        answer.take(await _first(events))
    return JSONResponse(answer.whole())


async def _whole(events: AsyncGenerator[Event], answer: Answer, wants_logprobs: bool) -> Response:
    async with aclosing(events):
        answer.take(await _first(events))
        async for event in events:
            answer.take(event)
    return JSONResponse(answer.whole(wants_logprobs))


async def _stream(events: AsyncGenerator[Event], answer: Answer, wants_logprobs: bool) -> Response:
    first = await _first(events)
    if first["type"] == "error":
        raise from_event(first)  # while the status can still say so

    async def all_events() -> AsyncGenerator[Event]:
        async with aclosing(events):
            yield first
            try:
                async for event in events:
                    yield event
            except ReplicaLost:
                yield ApiError(503, "The replica was lost in the middle of this answer.", code="replica_lost").event()

    return EventStream(answer.chunks(all_events(), wants_logprobs))


class EventStream(StreamingResponse):
    """Server-sent events whose source is closed at once when the client has gone."""

    def __init__(self, chunks: AsyncGenerator[bytes]) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._chunks = chunks

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the events as ASGI asks for."""
        async with aclosing(self._chunks):
            await super().__call__(scope, receive, send)


async def _first(events: AsyncGenerator[Event]) -> Event:
    try:
        return await asyncio.wait_for(anext(events), FIRST_EVENT_SECONDS)
    except StopAsyncIteration:
        raise ReplicaLost("no answer") from None
    except TimeoutError:
        raise ApiError(503, "The model is busy; try again later.", code="busy") from None


async def _unless_disconnected(request: Request, answering: Awaitable[Response]) -> Response:
    """The response, or an end to the work as soon as nobody waits for it any more."""
    work, gone = asyncio.ensure_future(answering), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await work if work.done() else Response(status_code=499)
    finally:
        work.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request, shape: type[R]) -> R:
    """The body as `shape`, its bytes counted while they come. Raises ApiError (400, 413)."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise ApiError(413, f"The body is larger than {MAX_BODY} bytes.", code="body_too_large")
    try:
        return shape.model_validate(from_json(bytes(body), allow_inf_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-")))
        message = first["msg"].removeprefix("Value error, ")
        field = where.split(".")[0] or message.split(" ")[0]
        raise ApiError(400, f"{where}: {message}." if where else f"{message}.", param=field) from None
    except ValueError as error:
        raise ApiError(400, f"The body is not valid JSON: {error!s:.200}.", code="invalid_json") from None


def _speak_openai_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body(), error.status)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        what = f"{request.method[:20]} {request.url.path[:200]}"
        message = {404: f"Nothing at {what}.", 405: f"{what} is not a way to ask."}.get(
            error.status_code, str(error.detail)
        )
        return JSONResponse(ApiError(error.status_code, message).body(), error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        return JSONResponse(ApiError(500, "Headwater failed on this request.", code="internal").body(), 500)
