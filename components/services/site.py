"""Where the services of one home live: their records in services.json, and the lock around starting and stopping."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from components.errors import InputError, ServiceError
from components.services.secrets import secret


@dataclass(frozen=True)
class Record:
    """What services.json keeps of one service."""

    ports: dict[str, int]
    """By purpose; "http" is the one of its address."""
    pid: int | None = None
    born: str | None = None
    """Boot and start tick of the process, so that a later one of the same number is not taken for it."""
    settings: str | None = None
    """Digest of the command and environment it was started with."""
    url: str | None = None


@dataclass(frozen=True)
class Site:
    """The services of one home."""

    home: Path
    records: dict[str, Record] = field(default_factory=dict)

    def port(self, service: str, purpose: str = "http") -> int:
        """The port of `service` for `purpose`."""
        return self.records[service].ports[purpose]

    def url(self, service: str) -> str:
        """The address of `service`."""
        return f"http://127.0.0.1:{self.port(service)}"

    def log(self, service: str) -> Path:
        """The file that holds what `service` prints."""
        return self.home / "logs" / f"{service}.log"

    def secret(self, name: str) -> str:
        """The secret `name` of this home."""
        return secret(self.home, name)

    def leaders(self, *services: str) -> dict[int, str]:
        """Process id and birth of what is recorded of `services` (default: all)."""
        kept = (record for name, record in self.records.items() if not services or name in services)
        return {record.pid: record.born for record in kept if record.pid and record.born}

    def save(self) -> None:
        """Write services.json; a reader sees the old content or the new, never half of it."""
        path = self.home / "services.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({name: asdict(record) for name, record in self.records.items()}, indent=1))
        fresh.replace(path)


def site_of(home: Path) -> Site:
    """The site of `home` as it is recorded; without records where nothing was ever started."""
    home = home.absolute()
    try:
        content = json.loads((home / "services.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return Site(home)
    except ValueError as error:
        raise ServiceError(f"{home / 'services.json'} is not readable ({error}): remove it and start again.") from None
    return Site(home, {name: Record(**record) for name, record in content.items()})


@contextmanager
def locked(home: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Alone in starting or stopping the services of `home`; the kernel ends it with the process, however that ends."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(home / "services.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InputError(f"HEADWATER_HOME={home} is no folder that can be written: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another headwater that starts or stops the services of this home")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
