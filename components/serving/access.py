"""Who may ask: API keys, compared by their SHA-256 in constant time, before anything else is looked at."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from components.errors import ServiceError
from components.serving.api_errors import ApiError


def read_keys(path: Path) -> frozenset[bytes]:
    """SHA-256 of each key in the file, one a line. Raises ServiceError if it holds none."""
    try:
        lines = path.read_text().split()
    except OSError as error:
        raise ServiceError(f"The API keys in {path} cannot be read: {error.strerror}.") from None
    if not lines:
        raise ServiceError(f"{path} holds no API key, so nobody could use the endpoint.")
    return frozenset(hashlib.sha256(line.encode()).digest() for line in lines)


class KeyRequired:
    """ASGI middleware: every path under /v1 needs `Authorization: Bearer KEY`, whether or not it exists."""

    def __init__(self, app: Any, keys: frozenset[bytes]) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass an authorised request on; answer any other with 401."""
        guarded = scope["type"] == "http" and (scope["path"] == "/v1" or scope["path"].startswith("/v1/"))
        if scope["type"] == "websocket" or (guarded and not self._known(Headers(scope=scope).get("authorization", ""))):
            message = "No API key, or a wrong one: send 'Authorization: Bearer KEY'."
            error = ApiError(401, message, code="invalid_api_key")
            response = JSONResponse(error.body(), 401, headers={"WWW-Authenticate": "Bearer"})
            return await response(scope, receive, send)
        await self._app(scope, receive, send)

    def _known(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        given = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()
        matches = [hmac.compare_digest(given, known) for known in self._keys]  # all of them, whatever the first says
        return scheme.lower() == "bearer" and any(matches)
