"""How long a checkpoint keeps the training loop waiting: the 12.6M Llama's weights and moments, 151 MB in fp32.

Interleaves the writer of training (the loop waits for a copy) with the same write done at once (the loop waits for the
disk). Prints as its last line {"ours": seconds that the loop waits, "peers": {"synchronous": the same}, "ratio",
"part_of_write_time", "processor_seconds", "runs"}: medians, without the first, which makes the buffers.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from components.training.checkpoint import State, write
from components.training.writer import CheckpointWriter

RUNS, PARAMETERS, PIECES = 5, 12_600_000, 50


def main() -> None:
    """Measure and print; processor seconds of the loop's own thread beside, which say more on a busy machine."""
    torch.set_num_threads(1)
    pieces = {str(number): torch.randn(PARAMETERS // PIECES) for number in range(PIECES)}
    moments = {f"{moment}.{name}": torch.randn_like(t) for moment in ("first", "second") for name, t in pieces.items()}
    files = {"model": pieces, "optimizer": moments}
    waits, writes, at_once, copying, writing = [], [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        writer = CheckpointWriter(Path(place) / "beside", keep_last=2, keep_best=0)
        for step in range(RUNS + 1):
            state = State(step=step, loss=1.0, tokens=0, seconds=0.0, job="")
            started, busy = time.perf_counter(), time.thread_time()
            writer.submit(state, files)
            waits.append(time.perf_counter() - started)
            copying.append(time.thread_time() - busy)
            writer.wait()
            writes.append(time.perf_counter() - started)
            started, busy = time.perf_counter(), time.thread_time()
            write(Path(place) / f"at-once-{step}", state, files)
            at_once.append(time.perf_counter() - started)
            writing.append(time.thread_time() - busy)
            print(f"waited {waits[-1]:.3f} s of {writes[-1]:.3f} s; at once {at_once[-1]:.3f} s", flush=True)
    processor = {"copying": copying, "writing": writing}
    ours, theirs = statistics.median(waits[1:]), statistics.median(at_once[1:])
    row = {"ours": round(ours, 4), "peers": {"synchronous": round(theirs, 4)}, "ratio": round(ours / theirs, 4)}
    row["part_of_write_time"] = round(statistics.median(w / t for w, t in zip(waits[1:], writes[1:], strict=True)), 4)
    row |= {"processor_seconds": {name: round(statistics.median(found[1:]), 4) for name, found in processor.items()}}
    print(json.dumps({**row, "runs": RUNS}))


if __name__ == "__main__":
    main()
