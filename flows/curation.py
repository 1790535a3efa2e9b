"""Curation and preparation: documents to corpus, corpus to samples."""

import json

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from components.recipe import Recipe
from components.steps import Input, Step
from components.store import Stored
from flows.bases import given_parts, part, taken_base
from flows.passage import Passage
from flows.single import alone
from flows.step import step

CURATE = Step("curate", 2, "components.curation.curate:curate", "components.recipe:CurateConfig", "corpus", "job")
PREPARE = Step(
    "prepare", 1, "components.preparation.prepare:prepare", "components.recipe:PrepareConfig", "samples", "here"
)
CHATS = Step(
    "chats", 1, "components.preparation.chats:prepare_chats", "components.recipe:PrepareConfig", "samples", "here"
)
PREFERENCES = Step(
    "preferences",
    1,
    "components.preparation.preferences:prepare_preferences",
    "components.recipe:PrepareConfig",
    "samples",
    "here",
)
READERS = {"instructions": CHATS, "preferences": PREFERENCES}
"""How a source of a role becomes the samples of a phase."""
IMAGES = Step(
    "images", 1, "components.curation.images:curate_images", "components.recipe:ImagesConfig", "corpus", "job"
)
PAIRS = Step(
    "pairs", 2, "components.preparation.pairs:prepare_pairs", "components.recipe:PrepareConfig", "samples", "here"
)

CAPTIONS = Step(
    "captions",
    1,
    "components.preparation.captions:prepare_captions",
    "components.recipe:PrepareConfig",
    "samples",
    "here",
)
LABELLED = Step(
    "labelled",
    1,
    "components.preparation.labelled:prepare_labelled",
    "components.recipe:PrepareConfig",
    "samples",
    "here",
)
ANSWERS = Step(
    "answers",
    1,
    "components.preparation.answers:prepare_answers",
    "components.recipe:PrepareConfig",
    "samples",
    "here",
)
QUESTIONS = Step(
    "questions",
    2,
    "components.preparation.questions:prepare_questions",
    "components.recipe:PrepareConfig",
    "samples",
    "here",
)
PREPARATIONS = {
    "tokens": PREPARE,
    "pairs": PAIRS,
    "captions": CAPTIONS,
    "labelled": LABELLED,
    "answers": ANSWERS,
    "questions": QUESTIONS,
}
"""How a corpus becomes samples, by what the family learns from."""


def curation(run: Passage) -> Stored:
    """The corpus of a recipe's documents or images."""
    images = run.recipe.images
    sources = [
        run.source(source.name)
        for source in run.recipe.with_role(*(("images", "labels") if images else ("documents",)))
    ]
    corpus = (
        step(run, IMAGES, images, *sources, label="curate")
        if images
        else step(run, CURATE, run.recipe.curate, *sources)
    )
    if run.dry is None:
        run.reports["curation"] = str(corpus.path / "report.html")
        create_markdown_artifact(
            key="curation-report", markdown=_as_markdown(corpus), description=f"The corpus of {run.id}"
        )
    return corpus


def _as_markdown(corpus: Stored) -> str:
    """What curation kept and dropped, stage by stage and source by source."""
    found = json.loads((corpus.path / "summary.json").read_text())
    stages = "\n".join(f"| {s['stage']} | {s['documents']:,} | {s['characters']:,} |" for s in found["stages"])
    sources = "\n".join(
        f"| {s['name']} | {s['licence']} | {s['documents_read']:,} | {s['documents_kept']:,} |"
        for s in found["sources"]
    )
    return (
        f"| after | documents | characters |\n|---|---|---|\n{stages}\n\n"
        f"| source | licence | read | kept |\n|---|---|---|---|\n{sources}\n\nThe whole report: {corpus.path / 'report.html'}\n"
    )


def preparation(run: Passage, corpus: Stored, base: Stored | None) -> Stored:
    """Samples of the corpus, with the processor of the base or the parts, or else one trained on it."""
    from components.models import family

    kind = family(run.recipe.family)
    inputs = [as_input("corpus", corpus), *([as_input("base", base)] if base else [])]
    if run.recipe.with_role("part"):
        inputs += [part(run, name) for name in given_parts(run)]
    return step(run, PREPARATIONS[kind.samples], run.recipe.prepare, *inputs, label="prepare")


def chats(run: Passage, samples: Stored, phase: str, source: str) -> Stored:
    """Samples of an instruction or preference source for one phase, by the tokenizer of `samples`."""
    role = next(given.role for given in run.recipe.sources if given.name == source)
    config, given = run.recipe.prepare, as_input("samples", samples)
    return step(run, READERS[role], config, given, run.source(source), label=f"prepare:{phase}")


def as_input(role: str, stored: Stored) -> Input:
    """An artifact as the input of a step."""
    return Input(role, stored.kind, stored.digest)


@flow(name="curation", persist_result=False)
def curation_alone(recipe: Recipe) -> str:
    """Curate and prepare a recipe's sources, and stop there; the digest of the samples."""
    with alone(recipe) as run:
        return preparation(run, curation(run), taken_base(run)).digest
