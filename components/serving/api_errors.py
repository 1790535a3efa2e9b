"""Errors as OpenAI clients read them: {"error": {"message", "type", "param", "code"}} and a status."""

from typing import Any

CONTEXT_EXCEEDED = "context_length_exceeded"


class ApiError(Exception):
    """A request that cannot be answered, with the HTTP status and the field that is to blame."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def body(self) -> dict[str, Any]:
        """The JSON body of the response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        message = self.message.encode("utf-8", "replace").decode()  # a lone surrogate would break the response
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def event(self) -> dict[str, Any]:
        """The error as the last event of an answer, which crosses process borders without its class."""
        return {"type": "error", "status": self.status, "message": self.message, "param": self.param, "code": self.code}


class ReplicaLost(Exception):
    """The replica went away before it had answered; the request may be asked again."""


def from_event(event: dict[str, Any]) -> ApiError:
    """The error that `event` carries."""
    return ApiError(event["status"], event["message"], param=event["param"], code=event["code"])


def unknown_model(name: str, known: list[str]) -> ApiError:
    """404 with the models that exist."""
    message = f"The model {name[:100]!r} does not exist. Known: {', '.join(known) or 'none'}."
    return ApiError(404, message, param="model", code="model_not_found")
