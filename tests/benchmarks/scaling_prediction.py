"""How well a ladder predicts a run of 8 times its compute: `python tests/benchmarks/scaling_prediction.py [--seed N] [HOME]`.

Python's documentation (12.6 MB, fetched once) is curated and prepared, runs of four budgets are trained and evaluated, the
laws are fitted and the target's loss written down; then the target is trained. All are the steps of `headwater scale` in one
process, without Prefect and Ray, kept in HOME (a new folder by default), so that the same command goes on after an
interruption. All runs are trained from the seed N (0); about 20 minutes on one core. The last line is one JSON object:
`ours` is the distance of the prediction from the target's held-out loss (0.02 is 2%), `peers` that of each law, `ratio`
that of the law which was not chosen over ours.
"""

import argparse
import json
import sys
import tempfile
from math import log
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from home_steps import Home

from components.planning.ladder import ladder, target
from components.planning.predict import PredictConfig
from components.recipe.file import validated
from components.training.config import TrainConfig
from flows.curation import PREPARE, as_input
from flows.evaluation import EVALUATE
from flows.scaling import PREDICT
from flows.training import NOTHING, TRAIN

MANUAL = {
    "name": "python",
    "path": "debian:python3.11-doc!/usr/share/doc/python3.11/html/_sources",
    "licence": "PSF-2.0",
    "origin": "Debian",
}
RECIPE = {
    "name": "ladder",
    "size": "0.5m",
    "sources": [MANUAL],
    "prepare": {"vocab_size": 512, "context": 64},
    "train": [
        {
            "name": "pretrain",
            "tokens": 7_750_000,
            "batch_size": 16,
            "learning_rate": 3e-3,
            "num_workers": 0,
            "threads": 1,
            "checkpoint_seconds": 120,
        }
    ],
    "evaluate": {"prompts": ["The"], "sample_tokens": 4, "held_out_documents": 60},
    "gate": {"rules": [{"metric": "bits_per_byte", "max": 9.0}]},
    "scale": {
        "budgets": [2.5e11, 5e11, 1e12, 2e12],
        "sizes": ["0.06m", "0.09m", "0.15m", "0.3m", "0.5m"],
        "tokens_per_parameter": [4, 250],
    },
}


def trained_and_evaluated(home, recipe, samples, corpus, size, phase, name):
    """The evaluation of one run, and the ledger's row of its training."""
    config = TrainConfig(family=recipe.family, size=size, phase=phase)
    model, row = home.step(TRAIN, config, as_input("samples", samples), NOTHING, label=f"train:{name}")
    given = as_input("export", model), as_input("corpus", corpus)
    evaluation, _ = home.step(EVALUATE, recipe.evaluate, *given, label=f"evaluate:{name}")
    loss = log(json.loads((evaluation.path / "report.json").read_text())["scores"]["perplexity"]["value"])
    speed = f"{row.facts['tokens_per_second']:,.0f} tokens/s"
    print(f"{name:<16} {row.facts['tokens']:>9,} tokens, held-out loss {loss:.4f} nats, {speed}", flush=True)
    return evaluation, row, loss


def main(folder, seed):
    (phase,) = RECIPE["train"]
    recipe, home = validated({**RECIPE, "train": [{**phase, "seed": seed}]}, "benchmark"), Home(folder)
    corpus = home.corpus(recipe)
    samples, _ = home.step(PREPARE, recipe.prepare, as_input("corpus", corpus))
    found = json.loads((samples.path / "samples.json").read_text())
    rungs = ladder(recipe, found["vocab_size"])
    print(f"{found['num_tokens']:,} tokens of text; {len(rungs)} runs", flush=True)
    evaluations = []
    for rung, phase in rungs:
        evaluation, _, _ = trained_and_evaluated(home, recipe, samples, corpus, rung.size, phase, rung.name)
        evaluations.append(as_input(f"rung:{rung.name}", evaluation))
    aim = target(recipe, found["vocab_size"])
    config = PredictConfig(rungs=tuple(rung for rung, _ in rungs), target=aim, resamples=200, seed=0)
    prediction, foretold = home.step(PREDICT, config, *evaluations)
    told = json.loads((prediction.path / "prediction.json").read_text())
    _, done, loss = trained_and_evaluated(home, recipe, samples, corpus, recipe.size, recipe.train[0], "target")
    assert foretold.finished < done.started, "the prediction has to come first"
    off = {name: law["target"]["loss"] / loss - 1 for name, law in told["laws"].items()}
    low, high = told["predicted"]["interval"]
    largest = max(rung.flops for rung, _ in rungs)
    print(f"predicted {told['predicted']['loss']:.4f} ({low:.4f} to {high:.4f}), found {loss:.4f}: {prediction.path}")
    ours = abs(off.pop(told["predicted"]["by"]))
    (other,) = map(abs, off.values())
    missed = {name: law["missed"] for name, law in told["laws"].items()}
    result = {
        "ours": ours,
        "peers": {name: abs(value) for name, value in off.items()},
        "ratio": other / ours,
        "missed": missed,
    }
    print(
        json.dumps(
            {**result, "times_the_largest_rung": aim.flops / largest, "predicted": told["predicted"], "found": loss}
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("home", nargs="?", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main((given.home or Path(tempfile.mkdtemp(prefix="headwater-ladder-"))).resolve(), given.seed)
