"""TCP ports on loopback: the usual one of a service when it is free, else one that nobody uses."""

import fcntl
import os
import socket
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FREE = range(20_000, 32_000)
"""Where free ports are looked for: below the range from which the kernel takes ports of outgoing connections."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`, on loopback and on every address (Ray's processes do the latter)."""
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as probe:
            # Linux lets a bind with this option pass connections that linger, but no listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def choose(usual: int | None, home: Path, taken: set[int]) -> int:
    """`usual` if it is free and not in `taken`, else a free port; where the search starts depends on `home`."""
    if usual is not None and usual not in taken and is_free(usual):
        return usual
    start = zlib.crc32(str(home).encode()) % len(FREE)
    for step in range(len(FREE)):
        port = FREE[(start + step) % len(FREE)]
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {FREE.start} and {FREE.stop}")


@contextmanager
def choosing(home: Path) -> Iterator[list[Path]]:
    """Held from the choice of a port until it is listened on, so that two homes never choose the same one.

    Gives the other homes that have chosen before: a port may be theirs although nobody listens on it yet.
    """
    path = Path(tempfile.gettempdir()) / f"headwater-ports-{os.getuid()}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        others = [Path(line) for line in file.read().splitlines() if line != str(home) and Path(line).is_dir()]
        file.seek(0)
        file.truncate()
        file.write("".join(f"{each}\n" for each in [*others, home]))
        file.flush()
        yield others
