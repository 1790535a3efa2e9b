"""How near the plan is to what training takes: `python tests/benchmarks/plan_accuracy.py [NAME ...]`.

For each configuration: the plan of a recipe as `headwater run` makes it, with a few steps tried; then the training itself,
in a process of its own without Ray, on text that ships with Headwater. Compared are the seconds of the loop and the
most memory that the process held. The last line is one JSON object: `ours` is the largest distance of an estimate from
its actual figure (0.15 is 15%), `peers.formula` that of the plan without trials, `ratio` the latter over the former.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import Corpus, Samples, SourceFiles
from components.planning.machine import measure
from components.planning.plan import plan
from components.preparation.chats import prepare_chats
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig
from components.recipe.file import validated
from components.settings import Settings
from components.training.config import TrainConfig
from components.training.train import train
from flows.costs import beside
from flows.estimates import estimate
from flows.known import source_data
from flows.recipes import shipped_data

CONFIGURATIONS = {
    "0.5m": {"size": "0.5m", "vocab_size": 1024, "context": 128, "tokens": 300_000, "batch_size": 4, "threads": 1},
    "2m": {"size": "2m", "vocab_size": 2048, "context": 256, "tokens": 250_000, "batch_size": 2, "threads": 2},
    "2m-batch-16": {
        "size": "2m",
        "vocab_size": 2048,
        "context": 256,
        "tokens": 300_000,
        "batch_size": 16,
        "threads": 1,
    },
    "5m": {"size": "5m", "vocab_size": 4096, "context": 512, "tokens": 160_000, "batch_size": 4, "threads": 2},
    "15m": {"size": "15m", "vocab_size": 8192, "context": 512, "tokens": 82_000, "batch_size": 8, "threads": 2},
    "60m": {"size": "60m", "vocab_size": 8192, "context": 256, "tokens": 20_000, "batch_size": 4, "threads": 2},
    "2m-chats": {"size": "2m", "vocab_size": 2048, "context": 256, "epochs": 8, "batch_size": 8, "threads": 2},
}


def recipe_of(configuration):
    given = dict(configuration)
    prepared = {name: given.pop(name) for name in ("vocab_size", "context")}
    phase = {"name": "phase", "num_workers": 0, "learning_rate": 1e-3, **given}
    phase.pop("size")
    if "epochs" in phase:
        phase |= {"objective": "sft", "data": "source:instructions"}
    source = {"licence": "public domain", "origin": "shipped"}
    content = {
        "name": "planned",
        "size": configuration["size"],
        "sources": [
            {"name": "austen", "path": "shipped:austen", **source},
            {"name": "instructions", "path": "shipped:instructions.jsonl", "role": "instructions", **source},
        ],
        "prepare": prepared,
        "train": [phase],
        "gate": {"rules": [{"metric": "bits_per_byte", "max": 9.0}]},
    }
    return validated(content, "benchmark")


def make_samples(folder, recipe):
    """Samples of Austen, and of the instructions by the same tokenizer; samples.json of the former."""
    texts = [
        part for file in sorted(shipped_data("austen").rglob("*.txt")) for part in file.read_text().split("\n\n\n")
    ]
    rows = {"id": [str(i) for i in range(len(texts))], "source": ["austen"] * len(texts), "text": texts}
    pq.write_table(pa.table({**rows, "licence": ["public domain"] * len(texts)}), folder / "train.parquet")
    for name in ("samples", "chats"):
        (folder / name).mkdir()
    config = PrepareConfig(vocab_size=recipe.prepare.vocab_size, context=recipe.prepare.context)
    prepare(config, Corpus(folder), out=folder / "samples", scratch=folder, report=lambda row: None)
    source = SourceFiles("instructions", shipped_data("instructions.jsonl"), "CC0-1.0", "shipped", "0" * 64)
    prepare_chats(
        config, Samples(folder / "samples"), source, out=folder / "chats", scratch=folder, report=lambda row: None
    )
    return json.loads((folder / "samples" / "samples.json").read_text())


def training(folder, config):
    """The facts of the training itself, in a process of its own."""
    (folder / "config.json").write_text(config.model_dump_json())
    told = subprocess.run([sys.executable, __file__, "--train", folder], capture_output=True, text=True, check=True)
    return json.loads(told.stdout.splitlines()[-1])


def train_here(folder):
    config = TrainConfig.model_validate_json((folder / "config.json").read_text())
    samples = Samples(folder / ("chats" if config.phase.data != "corpus" else "samples"))
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    out, scratch = folder / "out", folder / "scratch"
    print(json.dumps(train(config, samples, None, out=out, scratch=scratch, report=lambda row: None)))


def compare(name):
    recipe = recipe_of(CONFIGURATIONS[name])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus = make_samples(folder, recipe)
        paths = {"austen": shipped_data("austen"), "instructions": shipped_data("instructions.jsonl")}
        data = source_data(recipe, paths, corpus)
        started = time.monotonic()
        planned = estimate(recipe, Settings(folder / "home", "benchmark"), data, lambda line: None, worth=0.0)
        took = time.monotonic() - started
        formula = plan(recipe, measure(recipe.train[0].threads), data)
        facts = training(folder, TrainConfig(family=recipe.family, size=recipe.size, phase=recipe.train[0]))
    found, plain = (beside(made.model_dump(mode="json")["phases"][0], facts) for made in (planned, formula))
    return {"name": name, "plan_seconds": round(took, 1), **found, "formula_off": plain["off"]}


def main(names):
    runs = []
    for name in names or CONFIGURATIONS:
        run = compare(name)
        runs.append(run)
        said, did, off = run["estimated"], run["actual"], run["off"]
        print(
            f"{name:<12} {said['seconds']:6.1f} s planned, {did['seconds']:6.1f} s taken ({off['seconds']:+.1%}); "
            f"{said['memory_bytes'] / 2**20:5.0f} MiB planned, {did['memory_bytes'] / 2**20:5.0f} MiB held "
            f"({off['memory_bytes']:+.1%}); planned in {run['plan_seconds']} s",
            flush=True,
        )
    flags = Path("/proc/cpuinfo").read_text()
    print("processor:", *[flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag}" in flags])
    print(f"fp32 product of 1024-cubed, one thread: {measure(1).flops / 1e9:.0f} GFLOP/s")
    worst = {kind: max(abs(run["off"][kind]) for run in runs) for kind in ("seconds", "memory_bytes")}
    formula = max(max(abs(run["formula_off"][kind]) for kind in worst) for run in runs)
    ours = max(worst.values())
    print(json.dumps({"ours": ours, "peers": {"formula": formula}, "ratio": formula / ours, **worst, "runs": runs}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train_here(Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
