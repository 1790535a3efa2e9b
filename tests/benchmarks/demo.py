"""The demo from nothing running to a served model, in a home of its own: seconds, and the memory of all its processes.

Prints as its last line {"ours": seconds, "again": seconds of the same recipe once more, "peak_pss_bytes", "steps", "runs"}.
There is no peer that goes the whole path.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

HEADWATER = str(Path(sys.executable).parent / "headwater")


def main() -> int:
    """Run the demo twice in a new home."""
    home = Path(tempfile.mkdtemp(prefix="hw-bench-")) / "home"
    env = {**os.environ, "HEADWATER_HOME": str(home)}
    print(f"The demo in {home}; nothing else should run on this machine.")
    try:
        with Memory(home) as memory:
            first, seconds = _timed(env)
            again, seconds_again = _timed(env)
    finally:
        subprocess.run([HEADWATER, "down"], env=env, capture_output=True)
    executed = [step["name"] for step in again["steps"] if step["status"] == "executed"]
    steps = {step["name"]: step["seconds"] for step in first["steps"]}
    row = {
        "ours": seconds,
        "again": seconds_again,
        "executed_again": executed,
        "peak_pss_bytes": memory.peak,
        "steps": steps,
    }
    print(json.dumps({**row, "scores": first["scores"], "peers": {}, "ratio": None, "runs": 1}))
    return 0


def _timed(env: dict[str, str]) -> tuple[dict, float]:
    started = time.monotonic()
    done = subprocess.run([HEADWATER, "run", "demo", "--json"], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), round(time.monotonic() - started, 1)


class Memory:
    """The highest sum of proportional set sizes over all processes of a home, looked at every two seconds."""

    def __init__(self, home: Path) -> None:
        self.home, self.peak, self.stop = home, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(2):
            self.peak = max(self.peak, sum(map(_pss, self._processes())))

    def _processes(self) -> set[int]:
        """Those whose environment names the home, and what descends from them: Ray's workers overwrite theirs."""
        found: set[int] = set()
        for process in psutil.process_iter():
            try:
                if process.environ().get("HEADWATER_HOME") == str(self.home):
                    found |= {process.pid, *(child.pid for child in process.children(recursive=True))}
            except psutil.Error:
                continue
        return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main())
