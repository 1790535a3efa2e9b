"""Experts beside a dense model of equal active parameters and equal tokens: `python tests/benchmarks/experts.py [TOKENS] [SEEDS]`.

mixtral 8x2m and llama 3.3m, whose parameters are as many as work on a token there, learn from the shipped Austen with the same
settings, once for each seed (500,000 tokens and 3 seeds, if left out), two at a time with one thread each. The last line
is one JSON object: `ours` is the difference of held-out nats per token, dense less experts, over the seeds with its standard
error; `interval` is that of 95% by Student's t; `shares` the least and the most used expert of any run, as multiples of the
fair share.
"""

import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from math import log
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from shipped import shipped_corpus

from components.artifacts import Corpus, Export, Samples
from components.evaluation.evaluate import evaluate
from components.preparation.prepare import prepare
from components.recipe import EvaluateConfig, PrepareConfig, TrainPhase
from components.training.config import TrainConfig
from components.training.train import train

QUIET = {"report": lambda row: None}
MODELS = {"experts": ("mixtral", "8x2m"), "dense": ("llama", "3.3m")}
AT_ONCE = 2
"""Runs beside each other: experts are small, and two threads of one run wait for each other."""
HELD_OUT = 12
"""Of so many documents one is held out."""


def corpus(folder: Path) -> Corpus:
    """The shipped Austen in two splits."""
    whole = pq.read_table(shipped_corpus(folder).documents("train")).to_pylist()
    for split, rows in (("held_out", whole[::HELD_OUT]), ("train", [r for n, r in enumerate(whole) if n % HELD_OUT])):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return Corpus(folder)


def scored(folder: Path, name: str, seed: int, tokens: int, texts: Corpus, samples: Samples) -> dict[str, float]:
    """The scores of one run."""
    family, size = MODELS[name]
    phase = TrainPhase(
        name="pretrain", tokens=tokens, batch_size=4, learning_rate=2e-3, num_workers=0, threads=1, seed=seed,
        checkpoint_seconds=120,
    )  # fmt: skip
    places = {what: folder / f"{name}-{seed}-{what}" for what in ("export", "scratch", "report")}
    for place in places.values():
        place.mkdir()
    config = TrainConfig(family=family, size=size, phase=phase)
    facts = train(config, samples, None, out=places["export"], scratch=places["scratch"], **QUIET)
    asked = EvaluateConfig(prompts=("The",), sample_tokens=4, held_out_documents=80)
    evaluate(asked, Export(places["export"]), texts, out=places["report"], scratch=places["scratch"], **QUIET)
    scores = json.loads((places["report"] / "report.json").read_text())["scores"]
    found = {
        score: scores[score]["value"]
        for score in ("perplexity", "least_expert_share", "most_expert_share")
        if score in scores
    }
    print(f"{name} seed {seed}: {facts['seconds']:.0f} s, perplexity {found['perplexity']:.2f}", flush=True)
    return found


def main(tokens: int, seeds: int) -> None:
    """Train, compare, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = corpus(folder)
        (folder / "samples").mkdir()
        config = PrepareConfig(vocab_size=2048, context=256)
        prepare(config, texts, out=folder / "samples", scratch=folder, **QUIET)
        samples = Samples(folder / "samples")
        with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as processes:
            started = [
                {who: processes.submit(scored, folder, who, seed, tokens, texts, samples) for who in MODELS}
                for seed in range(seeds)
            ]
            runs = [{who: run.result() for who, run in both.items()} for both in started]
    gains = np.array([log(run["dense"]["perplexity"]) - log(run["experts"]["perplexity"]) for run in runs])
    error = float(gains.std(ddof=1) / np.sqrt(seeds))
    reach = float(stats.t.ppf(0.975, seeds - 1)) * error
    shares = [
        min(r["experts"]["least_expert_share"] for r in runs),
        max(r["experts"]["most_expert_share"] for r in runs),
    ]
    told = {
        "benchmark": "experts",
        "tokens": tokens,
        "seeds": seeds,
        "ours": float(gains.mean()),
        "error": error,
        "interval": [float(gains.mean()) - reach, float(gains.mean()) + reach],
        "shares": shares,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*(int(given) for given in (sys.argv[1:] + ["500000", "3"][len(sys.argv) - 1 :])))
