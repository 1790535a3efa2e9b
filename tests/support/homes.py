"""A home with real services, driven by the real command."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADWATER = str(Path(sys.executable).parent / "headwater")


@dataclass
class Site:
    """One HEADWATER_HOME and the command in it."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command in this home: whoever runs the tests is the user `runner`."""
        return {**os.environ, "HEADWATER_HOME": str(self.home), "HEADWATER_USER": "runner"}

    def hw(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return subprocess.run([HEADWATER, *arguments], env=self.env, capture_output=True, text=True, timeout=timeout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one command and go on."""
        return subprocess.Popen(
            [HEADWATER, *arguments], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def json(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """What a command prints with --json; it must end with `status`."""
        done = self.hw(*arguments, "--json")
        assert done.returncode == status, f"{arguments} ended with {done.returncode}: {done.stderr[-2000:]}"
        return json.loads(done.stdout)

    def clients(self) -> dict[str, str]:
        """The environment that `headwater env` gives a user's shell."""
        lines = self.hw("env").stdout.splitlines()
        pairs = (line.removeprefix("export ").partition("=") for line in lines)
        return {**self.env, **{name: value.strip("'") for name, _, value in pairs}}

    def close(self) -> None:
        """Stop the services and remove the home."""
        self.hw("down")
        shutil.rmtree(self.home, ignore_errors=True)


def new_site(name: str) -> Site:
    """A new home, short of path because Ray's sockets lie below the system's temp folder."""
    return Site(Path(tempfile.mkdtemp(prefix=f"hw-{name}-")) / "home")
