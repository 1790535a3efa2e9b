"""What every family promises, through the stages themselves: its debug size is prepared for, trained, exported, measured."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from drawings import draw

from components.artifacts import Corpus, Export, Samples, SourceFiles
from components.curation.images import curate_images
from components.digests import digest, folder_content
from components.evaluation.evaluate import evaluate
from components.models import families, family, family_of
from components.passages import Answer, Asked, as_text
from components.preparation.answers import prepare_answers
from components.preparation.captions import prepare_captions
from components.preparation.labelled import prepare_labelled
from components.preparation.pairs import prepare_pairs
from components.preparation.prepare import prepare
from components.preparation.questions import prepare_questions
from components.recipe import EvaluateConfig, PrepareConfig
from components.recipe.images import ImagesConfig, ImageSet
from components.serving.engines import open_engine
from components.training.adapters import trained
from components.training.config import Job
from components.training.export import export
from components.training.loader import Loader
from components.training.model import exported_weights, initial_model
from components.training.objectives import objective

QUIET = {"report": lambda row: None}


@pytest.fixture(scope="session")
def corpora(samples, tmp_path_factory):
    """By kind: the corpus of `samples`, whose first documents are held out as well as what is measured here is not
    quality, and one of drawings.
    """
    documents = tmp_path_factory.mktemp("documents")
    rows = pq.read_table(samples.path.parent / "train.parquet").to_pylist()
    for row in rows[1::2]:  # of a source that can be told
        row.update(source="shouted", text=f"Hear, hear! {row['text']}")
    for row in rows:
        row["text"] = as_text(row["text"], [Asked("How does it begin?", (Answer(0, row["text"].split()[0]),))])
    for split in ("train", "held_out"):
        pq.write_table(pa.Table.from_pylist(rows), documents / f"{split}.parquet")
    folder = tmp_path_factory.mktemp("drawings")
    sets = [ImageSet(source=style, style=style, caption="a {style} {label}") for style in ("filled", "outlined")]
    sources = [SourceFiles(s.source, draw(folder / s.source, s.source), "CC0-1.0", "drawn here", "") for s in sets]
    images = tmp_path_factory.mktemp("images")
    config = ImagesConfig(sets=tuple(sets), held_out=0.3, held_out_styles=0.3)
    curate_images(config, *sources, out=images, scratch=folder, **QUIET)
    return {"documents": Corpus(documents), "images": Corpus(images)}


READERS = {
    "tokens": prepare,
    "pairs": prepare_pairs,
    "captions": prepare_captions,
    "labelled": prepare_labelled,
    "answers": prepare_answers,
    "questions": prepare_questions,
}
PARTS = {"language": "llama", "eyes": "clip", "clip": "clip", "encoder": "modernbert"}
FREEZE = {"visual_sft": ("model.vision_tower",), "autoencoding": ("text_encoder", "image_encoder", "transformer")}
"""What a first phase of an objective leaves as it is."""
TOKENS = {"visual_sft": 25_000, "autoencoding": 8_000}


@pytest.fixture(scope="session")
def samples_for(tmp_path_factory, corpora):
    """A function: the corpus of a family as it reads it."""
    made = {}

    def samples(name):
        kind = family(name).processor, family(name).samples
        if kind not in made:
            folder = tmp_path_factory.mktemp("-".join(kind)) / "samples"
            folder.mkdir()
            config = PrepareConfig(vocab_size=512, context=64, processor=kind[0])
            parts = [fresh(PARTS[part], samples(PARTS[part]), tmp_path_factory) for part in family(name).parts]
            READERS[kind[1]](config, corpora[family(name).corpus], *parts, out=folder, scratch=folder, **QUIET)
            made[kind] = Samples(folder)
        return made[kind]

    return samples


def fresh(name, samples, tmp_path_factory):
    """An export of a model that has learnt nothing."""
    out = tmp_path_factory.mktemp(name)
    model = family(name).build("debug", **family(name).described(samples.json("samples.json")))
    export(model, samples, out)
    return Export(out)


def blind(name, samples):
    """The loss of who guesses: one of all tokens, of the batch's eight partners, of two labels; black for pictures on white."""
    guesses = {
        "contrastive": math.log(8),
        "autoencoding": 1.0,
        "classification": math.log(2),
        "extraction": math.log(64),
    }
    return guesses.get(family(name).objectives[0], math.log(samples.json("samples.json")["vocab_size"]))


@pytest.fixture
def config(configure):
    """A phase of the family's first objective."""

    def make(name, /, **fields):
        rate, tokens = {"documents": (1e-2, 25_000), "images": (1e-3, 9_000)}[family(name).corpus]
        chosen = {"objective": family(name).objectives[0], "tokens": tokens, "learning_rate": rate, **fields}
        if frozen := FREEZE.get(chosen["objective"]):
            chosen |= {"freeze": frozen, "tokens": TOKENS[chosen["objective"]]}
        return configure(**chosen).model_copy(update={"family": name})

    return make


@pytest.mark.parametrize("name", families())
def test_gradients_reach_every_parameter_and_a_seed_gives_the_same_weights(name, config, samples_for, tmp_path):
    job = Job(config(name), samples_for(name), None, tmp_path)
    model, again = initial_model(job), initial_model(job)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    chosen = objective(job.config.phase.objective).of(job.config.phase, job.samples)
    batch = Loader(job.samples, batch_size=8, seed=0).batch(0)
    chosen.loss(model, batch).loss_sum.backward()
    assert [key for key, p in trained(model).items() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", families())
def test_a_family_learns_exports_is_measured_and_answers(name, config, samples_for, corpora, run_train, tmp_path):
    samples = samples_for(name)
    out, facts, _ = run_train(config(name), samples, name="pretrain")
    assert facts["final_loss"] < blind(name, samples) - 0.4, "less than a blind guess"
    assert family_of(out).name == name

    again, _, _ = run_train(config(name, name="more", tokens=512, learning_rate=1e-9), samples, Export(out), "more")
    architecture = type(initial_model(Job(config(name), samples, None, tmp_path)))
    first, second = (exported_weights(folder, architecture) for folder in (out, again))
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first), "it began from the export"

    report = tmp_path / "report"
    report.mkdir()
    asked = EvaluateConfig(held_out_documents=4, prompts=("The work",), sample_tokens=4)
    evaluate(asked, Export(out), corpora[family(name).corpus], out=report, scratch=tmp_path, **QUIET)
    assert json.loads((report / "report.json").read_text())["scores"]
    shown = {"documents": "The work", "images": "data:image/png;base64,"}[family(name).corpus]
    shown = "Recommended: " if family(name).samples in ("labelled", "answers") else shown
    assert shown in (report / "report.html").read_text()

    engine = open_engine(out, digest(folder_content(out, "export")), threads=1)
    assert set(engine.endpoints) == set(family(name).endpoints)
