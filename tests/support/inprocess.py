"""The steps of the tiny recipe in one process, without Prefect and without jobs: `python -m inprocess HOME`."""

import sys
from pathlib import Path

from components.ledger import Ledger
from components.recipe.file import read_recipe
from components.settings import settings
from components.sources import source_digest
from components.steps import Input, declare, perform
from components.store import Store
from components.training.config import TrainConfig
from flows.curation import CHATS, CURATE, PREPARE, as_input
from flows.evaluation import EVALUATE, GATE, NO_CHAMPION
from flows.passage import source_path
from flows.recipes import shipped_recipes
from flows.training import NOTHING, TRAIN

SETTINGS = (
    "size=debug",
    "prepare.context=64",
    "train.pretrain.num_workers=0",
    "train.pretrain.tokens=20000",
    "train.pretrain.checkpoint_seconds=0.2",
    "evaluate.held_out_documents=2",
    "evaluate.sample_tokens=8",
)


def run(home: Path) -> list[str]:
    """Every step of the recipe in order; the digests of what came out."""
    settings()
    ledger, store = Ledger(f"sqlite:///{home}/ledger.db"), Store(home / "store")
    recipe = read_recipe(shipped_recipes()["tiny"], SETTINGS)
    digests: list[str] = []

    def step(what, config, *inputs, label=""):
        row = declare(ledger, what, config, inputs, label or what.name)
        digests.append((stored := perform(ledger, store, home / "scratch", row.identity, None)).digest)
        return stored

    def source(given):
        path = source_path(given, home, print)
        place = {"name": given.name, "licence": given.licence, "origin": given.origin, "path": str(path)}
        return Input(f"source:{given.name}", "source", source_digest(path), place)

    corpus = step(CURATE, recipe.curate, *map(source, recipe.with_role("documents")))
    samples = step(PREPARE, recipe.prepare, as_input("corpus", corpus))
    first, second = (TrainConfig(family=recipe.family, size=recipe.size, phase=phase) for phase in recipe.train)
    base = step(TRAIN, first, as_input("samples", samples), NOTHING, label="train:pretrain")
    chats = step(CHATS, recipe.prepare, as_input("samples", samples), source(recipe.with_role("instructions")[0]))
    model = step(TRAIN, second, as_input("samples", chats), as_input("init", base), label="train:finetune")
    items = source(recipe.with_role("evaluation")[0])
    report = step(EVALUATE, recipe.evaluate, as_input("export", model), as_input("corpus", corpus), items)
    step(GATE, recipe.gate, as_input("evaluation", report), NO_CHAMPION)
    return digests


if __name__ == "__main__":
    print(*run(Path(sys.argv[1])))
