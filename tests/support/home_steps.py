"""The steps of recipes in one process, in a folder of their own: no Prefect, and Ray for curation alone."""

from pathlib import Path
from typing import Any

from components.ledger import Ledger, work
from components.packages.fetch import fetch
from components.packages.names import is_package
from components.recipe import Recipe
from components.settings import settings
from components.sources import source_digest
from components.steps import Input, Step, declare, perform
from components.store import Store, Stored
from flows.curation import CURATE
from flows.recipes import shipped_data


class Home:
    """A ledger and a store, and steps carried out in them; what is there already is not done again."""

    def __init__(self, folder: Path) -> None:
        settings()
        self.folder = folder
        self.ledger, self.store = Ledger(f"sqlite:///{folder}/ledger.db"), Store(folder / "store")

    def step(self, what: Step, config: Any, *inputs: Input, label: str = "") -> tuple[Stored, Any]:
        """The artifact of a step, and the ledger's row of it."""
        row = declare(self.ledger, what, config, inputs, label or what.name)
        stored = perform(self.ledger, self.store, self.folder / "scratch", row.identity, None)
        return stored, work.step(self.ledger, row.identity)

    def corpus(self, recipe: Recipe) -> Stored:
        """The corpus of the documents of `recipe`, which are shipped, or packages."""
        import ray

        sources = []
        for source in recipe.with_role("documents"):
            if is_package(source.path):
                path = fetch(source.path, self.folder, say=print)
            else:
                path = shipped_data(source.path.partition(":")[2])
            place = {"name": source.name, "licence": source.licence, "origin": source.origin, "path": str(path)}
            sources.append(Input(f"source:{source.name}", "source", source_digest(path), place))
        if declare(self.ledger, CURATE, recipe.curate, sources, CURATE.name).status != "finished":
            ray.init(
                address="local", num_cpus=2, object_store_memory=2**28, include_dashboard=False, log_to_driver=False
            )
        corpus, _ = self.step(CURATE, recipe.curate, *sources)
        ray.shutdown()
        return corpus
