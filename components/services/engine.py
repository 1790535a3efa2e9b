"""What an engine is to Headwater: a command, an environment, ports, and a question that tells whether it is well."""

import base64
import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.services.site import Site


@dataclass(frozen=True)
class Engine:
    """One service that Headwater starts."""

    name: str
    ports: Mapping[str, int | None]
    """Usual port by purpose; None: any free one."""
    command: Callable[[Site], list[str]]
    environment: Callable[[Site], dict[str, str]]
    """What it needs beside the variables that every client gets."""
    ailment: Callable[[Site], str | None]
    """Asks the running service; None when it is well, else what is wrong, in a few words."""
    after: str | None = None
    """The service that must be well before this one is started."""
    without: tuple[str, ...] = ()
    """Client variables that this service must not see."""
    grace_seconds: float = 10
    """From SIGTERM to SIGKILL."""


def ask(
    port: int,
    path: str,
    authorization: str | None = None,
    body: Mapping[str, Any] | None = None,
    timeout_seconds: float = 5,
) -> tuple[int, bytes]:
    """Status and body of a GET (or, with a body, a POST of JSON) on loopback; status 0 where nobody answers."""
    # http.client, for it goes through no proxy and is imported in a few milliseconds.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    content = None if body is None else json.dumps(body)
    try:
        connection.request("GET" if body is None else "POST", path, body=content, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, (str(error) or type(error).__name__).encode()
    finally:
        connection.close()


def refusal(port: int, path: str, authorization: str | None = None) -> str | None:
    """None if a GET is answered with 200, else why not."""
    status, body = ask(port, path, authorization)
    if status == 200:
        return None
    if status == 401:
        return f"port {port} refuses the token of this home"
    return f"port {port} answers {status}" if status else f"port {port}: {body.decode(errors='replace')}"


def basic(user: str, password: str) -> str:
    """The Authorization header of HTTP basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
