"""The Llama of flows/recipes/llama.toml, trained for longer, beside 5-grams: `python tests/benchmarks/kneser_ney.py [TOKENS] [HOME]`.

It learns from TOKENS (4,000,000 by default: about seven times all of the shipped text) in this process, with what the recipe
says. The 5-grams, with modified Kneser-Ney smoothing, are counted over the same text in the same tokens. Both are measured
on the documents that were held out. The steps are kept in HOME (a new folder by default), so the same command goes on after
an interruption. The last line is one JSON object: `ours` and `peers` are bits per byte, `ratio` is how much less ours is.
"""

import json
import sys
import tempfile
from math import log
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from home_steps import Home
from kneser_ney import KneserNey
from transformers import AutoTokenizer

from components.evaluation.scoring import encode
from components.recipe.file import read_recipe
from components.training.config import TrainConfig
from flows.curation import PREPARE, as_input
from flows.evaluation import EVALUATE
from flows.recipes import shipped_recipes
from flows.training import NOTHING, TRAIN

ORDERS = (2, 3, 4, 5)


def bits_of_grams(corpus, tokenizer):
    """Bits per byte of held-out documents by n-grams of each order."""
    texts = {split: pq.read_table(corpus / f"{split}.parquet")["text"].to_pylist() for split in ("train", "held_out")}
    ids = {split: [np.asarray(row) for row in encode(tokenizer, rows)] for split, rows in texts.items()}
    num_bytes = sum(len(text.encode()) for text in texts["held_out"])
    models = {order: KneserNey(ids["train"], len(tokenizer), order) for order in ORDERS}
    return {f"{n}-grams": sum(map(model.nats, ids["held_out"])) / log(2) / num_bytes for n, model in models.items()}


def main(tokens, folder):
    recipe, home = read_recipe(shipped_recipes()["llama"]), Home(folder)
    corpus = home.corpus(recipe)
    samples, _ = home.step(PREPARE, recipe.prepare, as_input("corpus", corpus))
    peers = bits_of_grams(corpus.path, AutoTokenizer.from_pretrained(samples.path / "processor"))
    print(json.dumps(peers), flush=True)
    phase = recipe.train[0].model_copy(update={"tokens": tokens, "num_workers": 0, "threads": 2})
    config = TrainConfig(family=recipe.family, size=recipe.size, phase=phase)
    export, row = home.step(TRAIN, config, as_input("samples", samples), NOTHING, label="train:pretrain")
    asked = recipe.evaluate.model_copy(update={"tasks": ()})
    evaluation, _ = home.step(EVALUATE, asked, as_input("export", export), as_input("corpus", corpus))
    ours = json.loads((evaluation.path / "report.json").read_text())["scores"]["bits_per_byte"]
    told = {"benchmark": "kneser_ney", "tokens": tokens, "seconds": row.facts["seconds"], "ours": ours["value"]}
    print(json.dumps({**told, "error": ours["stderr"], "peers": peers, "ratio": peers["5-grams"] / ours["value"]}))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 4_000_000,
        Path(given[1] if len(given) > 1 else tempfile.mkdtemp(prefix="headwater-kneser-ney-")).resolve(),
    )
