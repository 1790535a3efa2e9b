"""Curation and preparation: documents to corpus, corpus to samples."""

from prefect import flow

from components.recipe import Recipe
from components.steps import Input, Step
from components.store import Stored
from flows.passage import Passage
from flows.single import alone
from flows.step import step

CURATE = Step("curate", 1, "components.curation.curate:curate", "components.recipe:CurateConfig", "corpus", "job")
PREPARE = Step(
    "prepare", 1, "components.preparation.prepare:prepare", "components.recipe:PrepareConfig", "samples", "here"
)
CHATS = Step(
    "chats", 1, "components.preparation.chats:prepare_chats", "components.recipe:PrepareConfig", "samples", "here"
)


def curation(run: Passage) -> Stored:
    """The corpus of a recipe's document sources."""
    sources = [run.source(source.name) for source in run.recipe.with_role("documents")]
    return step(run, CURATE, run.recipe.curate, *sources)


def preparation(run: Passage, corpus: Stored) -> Stored:
    """Samples of the corpus, with the tokenizer trained on it."""
    return step(run, PREPARE, run.recipe.prepare, as_input("corpus", corpus))


def chats(run: Passage, samples: Stored, phase: str, source: str) -> Stored:
    """Samples of an instruction source for one phase, by the tokenizer of `samples`."""
    return step(
        run, CHATS, run.recipe.prepare, as_input("samples", samples), run.source(source), label=f"prepare:{phase}"
    )


def as_input(role: str, stored: Stored) -> Input:
    """An artifact as the input of a step."""
    return Input(role, stored.kind, stored.digest)


@flow(name="curation", persist_result=False)
def curation_alone(recipe: Recipe) -> str:
    """Curate and prepare a recipe's sources, and stop there; the digest of the samples."""
    with alone(recipe) as run:
        return preparation(run, curation(run)).digest
