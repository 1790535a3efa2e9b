"""How long a checkpoint keeps the training loop waiting: the 12.6M Llama's weights and moments, 151 MB in fp32.

The loop is products of matrices in one thread, for about as long as a step of that model, while another process does
the same on the other core, as a second worker would. Interleaves a step alone, one with the writer of training beside it
(the loop waits where the copy is not done at the step's end), and one after the same write done at once. Prints as its
last line {"ours": seconds that the loop waits, "peers": {"synchronous": the same}, "ratio", "part_of_write_time",
"longer": seconds by which the step beside it takes longer, as copy and write want a core too, "runs"}: medians, without
the first, which makes the buffers.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from components.training.checkpoint import State
from components.training.commit import write
from components.training.pieces import Part
from components.training.writer import CheckpointWriter

RUNS, PARAMETERS, PIECES = 15, 12_600_000, 50
PRODUCTS, WIDTH = 8, 1536
BESIDE = "import torch; torch.set_num_threads(1); x = torch.randn(1536, 1536)\nwhile True: x @ x"


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    pieces = {str(number): torch.randn(PARAMETERS // PIECES) for number in range(PIECES)}
    moments = {f"{moment}.{name}": torch.randn_like(t) for moment in ("first", "second") for name, t in pieces.items()}
    files = {"model": pieces, "optimizer": moments}
    factor = torch.randn(WIDTH, WIDTH)

    def step() -> None:
        for _ in range(PRODUCTS):
            factor @ factor

    longer, waits, writes, at_once, ends = [], [], [], [], []
    other = subprocess.Popen([sys.executable, "-c", BESIDE])
    try:
        with tempfile.TemporaryDirectory() as place:
            writer = CheckpointWriter(Path(place) / "beside", keep_last=2, keep_best=0)
            for number in range(RUNS + 1):
                state = State(step=number, loss=1.0, tokens=0, seconds=0.0, job="")
                started = time.perf_counter()
                step()
                alone = time.perf_counter() - started
                started = time.perf_counter()
                writer.save(state, Part(files), writer.begin(number))
                written = threading.Thread(target=lambda: (writer.wait(), ends.append(time.perf_counter())))
                written.start()
                step()
                stepped = time.perf_counter()
                writer.wait_for_copy()
                ended = time.perf_counter()
                waits.append(ended - stepped)
                longer.append(ended - started - alone)
                written.join()
                writes.append(ends.pop() - started)
                started = time.perf_counter()
                write(Path(place) / f"at-once-{number}", state, files)
                at_once.append(time.perf_counter() - started)
                print(
                    f"step {alone:.3f} s, {longer[-1]:.3f} s longer, of which {waits[-1]:.3f} s waited; "
                    f"written in {writes[-1]:.3f} s; at once {at_once[-1]:.3f} s",
                    flush=True,
                )
    finally:
        other.terminate()
        other.wait()
    ours, theirs = statistics.median(waits[1:]), statistics.median(at_once[1:])
    row = {"ours": round(ours, 4), "peers": {"synchronous": round(theirs, 4)}, "ratio": round(ours / theirs, 4)}
    row["part_of_write_time"] = round(statistics.median(w / t for w, t in zip(waits[1:], writes[1:], strict=True)), 4)
    print(json.dumps({**row, "longer": round(statistics.median(longer[1:]), 4), "runs": RUNS}))


if __name__ == "__main__":
    main()
