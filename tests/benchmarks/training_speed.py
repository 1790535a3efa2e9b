"""Tokens per second of our loop and of its peers, on the same text, with the same model and settings.

The model is a Llama of 12.6M parameters (vocabulary 8,192, width 384, 6 layers), context 512, 8 sequences a step,
AdamW, clipping. Peers: transformers' Trainer and nanoGPT's loop, in fp32 and, where the processor has bf16 units, in
bf16. Ours is the whole loop under Ray Train, two workers with a thread each, in bf16 where there are units. All run in
processes of their own, interleaved; loader, logging and checkpoints are included, the first steps are counted apart as
warm-up. Takes about half an hour.

`--runs N` (5) of `--steps N` (10); `--only NAME ...` leaves others out; `--curve` trains each once for 300 steps and
compares the losses at their end. The last line is one JSON object: `ours` (tokens/s, compiled), `eager`, `peers`, `ratio`
and `eager_ratio` (over the best peer), `mfu`, `warm_up_seconds`, `products` (GFLOP/s), `runs`; all medians.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from components.artifacts import Samples
from components.recipe import PrepareConfig, TrainPhase
from components.training.checkpoint import read_state, whole
from components.training.config import TrainConfig
from components.training.train import train
from tests.support.shipped import novels_and_plays

PEERS = Path(__file__).parents[1] / "support" / "speed_peers.py"
CONTEXT, BATCH, WARM_UP = 512, 8, 3
CURVE_STEPS, CURVE_END, TOLERANCE = 300, 20, 0.01
OURS = {
    "eager": {"num_workers": 2, "threads": 1, "precision": "auto"},
    "compiled": {"num_workers": 2, "threads": 1, "precision": "auto", "compile": True},
}


def has_bf16_units() -> bool:
    """Whether the processor multiplies bf16 matrices by itself."""
    return bool(re.search(r"\b(avx512_bf16|amx_bf16)\b", Path("/proc/cpuinfo").read_text()))


def contenders() -> dict[str, str]:
    """Each contender's name with its precision."""
    precisions = ["fp32", "bf16"] if has_bf16_units() else ["fp32"]
    peers = {f"{loop}_{precision}": precision for loop in ("trainer", "nanogpt") for precision in precisions}
    return {**{name: precisions[-1] for name in OURS}, **peers}


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    names = {name: kind for name, kind in contenders().items() if not arguments.only or name in arguments.only}
    print("processor:", " ".join(sorted(set(re.findall(r"\b(?:avx|amx|fma)\w*", Path("/proc/cpuinfo").read_text())))))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        novels_and_plays(folder, PrepareConfig(vocab_size=8192, context=CONTEXT))
        if arguments.curve:
            print(json.dumps(curve(folder, names)))
            return
        rates: dict[str, list[float]] = {name: [] for name in names}
        warm_up: dict[str, list[float]] = {name: [] for name in names}
        peak: list[dict[str, float]] = []
        for run in range(arguments.runs):
            peak.append(products())
            for name in names:
                found = contend(folder, name, WARM_UP + arguments.steps)
                clock = {int(step): seconds for step, seconds in found["clock"].items()}
                first, last = min(step for step in clock if step >= WARM_UP), max(clock)
                rates[name].append(BATCH * CONTEXT * (last - first) / (clock[last] - clock[first]))
                warm_up[name].append(clock[first] - found["started"])
                print(
                    f"run {run + 1}: {name} {rates[name][-1]:.0f} tokens/s, warm-up {warm_up[name][-1]:.0f} s",
                    flush=True,
                )
    print(json.dumps(summary(rates, warm_up, peak)))


def summary(rates: dict[str, list[float]], warm_up: dict[str, list[float]], peak: list[dict[str, float]]) -> dict:
    """The last line."""
    median = {name: round(statistics.median(found), 1) for name, found in rates.items()}
    product = {name: round(statistics.median(row[name] for row in peak), 1) for name in peak[0]}
    peers = {name: rate for name, rate in median.items() if name not in OURS}
    best = max(peers.values(), default=None)
    ours, eager = median.get("compiled"), median.get("eager")
    return {
        "ours": ours,
        "eager": eager,
        "peers": peers,
        "ratio": ours and best and round(ours / best, 3),
        "eager_ratio": eager and best and round(eager / best, 3),
        "mfu": {
            n: round(r * flops_per_token() / 1e9 / product[contenders()[n]], 3) for n, r in median.items() if n in OURS
        },
        "warm_up_seconds": {name: round(statistics.median(found), 1) for name, found in warm_up.items()},
        "products": product,
        "runs": max(map(len, rates.values())),
        "all": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
    }


def flops_per_token() -> float:
    """Of forward and backward: products with every weight, and the attention that a causal mask needs."""
    width, layers, key_values, mlp, vocabulary = 384, 6, 128, 1024, 8192
    weights = layers * (2 * width * width + 2 * width * key_values + 3 * width * mlp) + vocabulary * width
    return 3 * (2 * weights + layers * 4 * width * (CONTEXT + 1) / 2)


def products() -> dict[str, float]:
    """GFLOP/s of a 2048-cubed product on all cores, the best of five, in a process of its own."""
    code = (
        "import json, time, torch\n"
        "def rate(dtype, times):\n"
        "    x, best = torch.randn(2048, 2048).to(dtype), 0\n"
        "    for _ in range(times):\n"
        "        start = time.monotonic(); torch.nn.functional.linear(x, x)\n"
        "        best = max(best, 2 * 2048**3 / (time.monotonic() - start) / 1e9)\n"
        "    return best\n"
        "print(json.dumps({'fp32': rate(torch.float32, 6), 'bf16': rate(torch.bfloat16, 3)}))\n"
    )
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def curve(folder: Path, names: dict[str, str]) -> dict:
    """The mean loss of the last steps of a longer training of each, and its distance from ours."""
    end = {}
    for name in names:
        losses = contend(folder, name, CURVE_STEPS)["losses"]
        end[name] = statistics.fmean(losses[-CURVE_END:])
        print(f"{name}: loss {end[name]:.4f} (mean of the last {CURVE_END})", flush=True)
    off = {name: end[name] / end["trainer_fp32"] - 1 for name in end if name in OURS}
    return {
        "end": end,
        "off": off,
        "equal": all(abs(value) <= TOLERANCE for value in off.values()),
        "steps": CURVE_STEPS,
    }


def contend(folder: Path, name: str, steps: int) -> dict:
    """What one contender says of so many steps, in a process of its own."""
    precision = contenders()[name]
    (folder / "config.json").write_text(config(name, steps, precision).model_dump_json())
    started = time.monotonic()
    if name in OURS:
        command = [sys.executable, __file__, "--worker", str(folder)]
    else:
        command = [sys.executable, str(PEERS), name.partition("_")[0], str(folder), str(steps), precision]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return {"started": started, **json.loads(done.stdout.splitlines()[-1])}


def config(name: str, steps: int, precision: str) -> TrainConfig:
    """The phase: the same for all, but for how ours does it."""
    phase = TrainPhase(
        name="speed",
        tokens=steps * BATCH * CONTEXT,
        batch_size=BATCH,
        learning_rate=1e-3,
        checkpoint_seconds=30,  # one in the middle and one at the end, as the peers write them
        **OURS.get(name, {}),
    )
    return TrainConfig(family="llama", size="15m", phase=phase)


def work(folder: Path) -> None:
    """Our training as a job does it: under Ray Train, with progress, checkpoints and the export."""
    lines: list[dict] = []

    def report(line: dict) -> None:
        lines.append({**line, "arrived": time.monotonic()})

    with tempfile.TemporaryDirectory() as place:
        for part in ("out", "scratch"):
            (Path(place) / part).mkdir()
        phase = TrainConfig.model_validate_json((folder / "config.json").read_text())
        rest = {"out": Path(place) / "out", "scratch": Path(place) / "scratch", "report": report}
        facts = train(phase, Samples(folder / "samples"), None, **rest)
        losses = read_state(
            whole(Path(place) / "scratch" / "checkpoints")[-1]
        ).losses  # of each step; lines leave some out
    steps = [line for line in lines if "tokens_per_second" in line]
    since_start = [line["tokens"] / line["tokens_per_second"] for line in steps]  # by the loop's own clock
    start = min(line["arrived"] - seconds for line, seconds in zip(steps, since_start, strict=True))
    clock = {line["done"]: start + seconds for line, seconds in zip(steps, since_start, strict=True)}
    print(json.dumps({"clock": clock, "losses": losses, "parameters": facts["parameters"]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--worker", type=Path)
    given = parser.parse_args()
    work(given.worker) if given.worker else main(given)
