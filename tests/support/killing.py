"""A small fit whose processes are forked from here and killed: torch is imported once, and nothing computed before."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import Corpus
from components.digests import folder_content
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig, TrainPhase
from components.training.config import TrainConfig

LICENCE_TEXT = Path(__file__).parents[2] / "LICENSE"


def make_samples(folder: Path) -> None:
    """The paragraphs of the licence as samples of 64 tokens, in `folder`/samples."""
    texts = [part for part in LICENCE_TEXT.read_text().split("\n\n") if part.strip()]
    names = [str(number) for number in range(len(texts))]
    same = {"source": ["apache"] * len(texts), "licence": ["Apache-2.0"] * len(texts)}
    pq.write_table(pa.table({"id": names, **same, "text": texts}), folder / "train.parquet")
    (folder / "samples").mkdir()
    config = PrepareConfig(vocab_size=512, context=64)
    prepare(config, Corpus(folder), out=folder / "samples", scratch=folder, report=lambda row: None)


def configured(num_workers: int, steps: int, checkpoint_seconds: float) -> TrainConfig:
    """A debug-sized phase of so many steps."""
    phase = TrainPhase(
        name="fit",
        tokens=steps * 8 * 64,
        batch_size=8,
        num_workers=num_workers,
        checkpoint_seconds=checkpoint_seconds,
    )
    return TrainConfig(family="llama", size="debug", phase=phase)


def forked(work: Callable[[], None], fault: str = "") -> int:
    """The id of a new process that does `work`; it leads a group of its own, and dies at the point `fault`."""
    if child := os.fork():
        return child
    status = 1
    try:
        os.setsid()
        os.environ["HEADWATER_FAULT"] = fault
        work()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def ended(children: list[int]) -> list[int]:
    """The wait status of each, when all have ended: 0, or how it died."""
    return [os.waitpid(child, 0)[1] for child in children]


def kill_at(moment: float, victim: int) -> float | None:
    """Kill `victim` at `moment` (of the monotonic clock), if it lives; the time of the kill, or None."""
    while time.monotonic() < moment:
        if os.waitid(os.P_PID, victim, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return None
        time.sleep(0.002)
    if os.waitid(os.P_PID, victim, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        return None
    os.kill(victim, signal.SIGKILL)
    return time.time()


def since_checkpoint(checkpoints: Path, at: float) -> float | None:
    """Seconds of work that a kill at the time `at` has lost; None without a checkpoint."""
    from components.training.checkpoint import whole

    written = [(folder / "state.json").stat().st_mtime for folder in whole(checkpoints)]
    return at - max(written) if written else None


def content(out: Path) -> dict[str, object]:
    """What is compared: the digest of every file."""
    return folder_content(out, "export")["files"]
