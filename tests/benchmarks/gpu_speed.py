"""Tokens per second and utilisation of a Llama of 340M parameters on one GPU, beside nanochat's loop on the same card.

24 layers of width 1,024, context 2,048, batches of 262,144 tokens, in bf16; ours is the whole loop with its loader, guards,
log and checkpoints. nanochat's model is as deep and as wide, and its loop is compiled. All run in processes of their own,
interleaved. Utilisation counts the products with weights and the attention that a causal mask needs, over a bf16 product
of random matrices of side 8,192.

`--nanochat FOLDER` is a clone of github.com/karpathy/nanochat; without it only ours runs. `--runs N` (3) of `--steps N`
(12); `--only NAME ...` leaves others out. The last line is one JSON object, all medians:
`ours` (tokens/s, compiled), `peers`, `ratio` (of the utilisations, as the models differ a little), `utilisation`, `product`
(TFLOP/s), `runs`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from components.artifacts import Samples
from components.recipe import PrepareConfig, TrainPhase
from components.training.checkpoint import read_state, whole
from components.training.config import TrainConfig
from components.training.train import train
from tests.support.shipped import novels_and_plays

SUPPORT = Path(__file__).parents[1] / "support"
CONTEXT, BATCH, ROWS, WARM_UP = 2048, 128, 32, 3
LAYERS, WIDTH, HEADS, KV_HEADS = 24, 1024, 8, 4
"""Of our size 350m, and of nanochat's model."""
OURS = {
    "compiled": {"precision": "bf16", "compile": True},
    "eager": {"precision": "bf16"},
    "fp8": {"precision": "fp8", "compile": True},
}


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    names = [*OURS, *(["nanochat"] if arguments.nanochat else [])]
    names = [name for name in names if not arguments.only or name in arguments.only]
    print("card:", torch.cuda.get_device_name(), "torch", torch.__version__, flush=True)
    rates: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, dict] = {}
    products = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        novels_and_plays(folder, PrepareConfig(vocab_size=28_672, context=CONTEXT))
        for run in range(arguments.runs):
            products.append(product())
            for name in names:
                started = time.monotonic()
                found[name] = contend(folder, name, WARM_UP + arguments.steps, arguments.nanochat)
                clock = {int(step): seconds for step, seconds in found[name]["clock"].items()}
                first, last = min(step for step in clock if step >= WARM_UP), max(clock)
                rates[name].append(BATCH * CONTEXT * (last - first) / (clock[last] - clock[first]))
                utilisation = rates[name][-1] * found[name]["flops_per_token"] / products[-1]
                print(
                    f"run {run + 1}: {name} {rates[name][-1]:,.0f} tokens/s, {utilisation:.1%} of the product, "
                    f"loss {found[name]['losses'][-1]:.3f}, compiled in {found[name].get('warm_up_seconds')} s, "
                    f"{clock[first] - started:.0f} s to the first step that counts, "
                    f"{found[name]['memory_bytes'] / 2**30:.1f} GiB",
                    flush=True,
                )
    median = {name: statistics.median(rate) for name, rate in rates.items()}
    peak = statistics.median(products)
    used = {name: round(rate * found[name]["flops_per_token"] / peak, 4) for name, rate in median.items()}
    print(
        json.dumps(
            {
                "ours": median.get("compiled"),
                "peers": {name: rate for name, rate in median.items() if name not in OURS},
                "ratio": round(used["compiled"] / used["nanochat"], 3)
                if {"compiled", "nanochat"} <= used.keys()
                else None,
                "utilisation": used,
                "product": round(peak / 1e12, 1),
                "runs": arguments.runs,
                "all": {name: [round(rate) for rate in each] for name, each in rates.items()},
            }
        )
    )


def product() -> float:
    """FLOP/s of a bf16 product, in a process of its own."""
    code = (
        "import torch; from components.flops import product_rate; "
        "print(product_rate(1.0, torch.device('cuda'), torch.bfloat16))"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def contend(folder: Path, name: str, steps: int, nanochat: Path | None) -> dict:
    """What one contender says of so many steps, in a process of its own."""
    if name == "nanochat":
        shape = [ROWS, BATCH // ROWS, steps, LAYERS, WIDTH, HEADS, KV_HEADS]
        command = [sys.executable, SUPPORT / "nanochat_peer.py", nanochat, folder / "samples", *shape]
    else:
        (folder / "config.json").write_text(config(name, steps).model_dump_json())
        command = [sys.executable, __file__, "--worker", folder]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path[1:], str(Path(__file__).parents[2])])}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def config(name: str, steps: int) -> TrainConfig:
    """The phase."""
    phase = TrainPhase(
        name="speed",
        tokens=steps * BATCH * CONTEXT,
        batch_size=BATCH,
        micro_batch_size=ROWS,
        learning_rate=6e-4,
        num_workers=0,
        use_gpu=True,
        checkpoint_seconds=60,
        **OURS[name],
    )
    return TrainConfig(family="llama", size="350m", phase=phase)


def work(folder: Path) -> None:
    """Our training, with progress, checkpoints and the export."""
    lines: list[dict] = []

    def report(line: dict) -> None:
        lines.append({**line, "arrived": time.monotonic()})

    with tempfile.TemporaryDirectory() as place:
        for part in ("out", "scratch"):
            (Path(place) / part).mkdir()
        phase = TrainConfig.model_validate_json((folder / "config.json").read_text())
        rest = {"out": Path(place) / "out", "scratch": Path(place) / "scratch"}
        facts = train(phase, Samples(folder / "samples"), None, report=report, **rest)
        losses = read_state(whole(Path(place) / "scratch" / "checkpoints")[-1]).losses
    steps = [line for line in lines if "tokens_per_second" in line]
    since_start = {
        line["done"]: line["tokens"] / line["tokens_per_second"] for line in steps
    }  # by the loop's own clock
    start = min(line["arrived"] - since_start[line["done"]] for line in steps)
    products = facts["parameters"] - json.loads((folder / "samples" / "samples.json").read_text())["vocab_size"] * WIDTH
    print(
        json.dumps(
            {
                "clock": {step: start + seconds for step, seconds in since_start.items()},
                "losses": losses,
                "flops_per_token": 6 * products + 6 * LAYERS * WIDTH * CONTEXT,
                "memory_bytes": facts["memory_bytes"],
                "warm_up_seconds": facts.get("warm_up_seconds"),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--nanochat", type=Path)
    parser.add_argument("--worker", type=Path)
    given = parser.parse_args()
    work(given.worker) if given.worker else main(given)
