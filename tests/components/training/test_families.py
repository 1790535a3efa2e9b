"""What every family promises, through the stages themselves: its debug size is prepared for, trained, exported, measured."""

import json
import math

import pytest
import torch

from components.artifacts import Corpus, Export, Samples
from components.digests import digest, folder_content
from components.evaluation.evaluate import evaluate
from components.models import families, family, family_of
from components.preparation.prepare import prepare
from components.recipe import EvaluateConfig, PrepareConfig
from components.serving.engines import open_engine
from components.training.config import Job
from components.training.loader import Loader
from components.training.model import exported_weights, initial_model
from components.training.objectives import objective


@pytest.fixture(scope="session")
def corpus(samples):
    """The corpus of `samples`, whose first documents are held out as well: what is measured here is not quality."""
    folder = samples.path.parent
    (folder / "held_out.parquet").write_bytes((folder / "train.parquet").read_bytes())
    return Corpus(folder)


@pytest.fixture(scope="session")
def samples_for(tmp_path_factory, corpus):
    """A function: the corpus as a family reads it."""
    made = {}

    def samples(name):
        kind = family(name).processor
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind) / "samples"
            folder.mkdir()
            config = PrepareConfig(vocab_size=512, context=64, processor=kind)
            prepare(config, corpus, out=folder, scratch=folder, report=lambda r: None)
            made[kind] = Samples(folder)
        return made[kind]

    return samples


@pytest.fixture
def config(configure):
    """A phase of the family's first objective."""

    def make(name, /, **fields):
        chosen = {"objective": family(name).objectives[0], "tokens": 25_000, "learning_rate": 1e-2, **fields}
        return configure(**chosen).model_copy(update={"family": name})

    return make


@pytest.mark.parametrize("name", families())
def test_gradients_reach_every_parameter_and_a_seed_gives_the_same_weights(name, config, samples_for, tmp_path):
    job = Job(config(name), samples_for(name), None, tmp_path)
    model, again = initial_model(job), initial_model(job)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    chosen = objective(job.config.phase.objective).of(job.config.phase, job.samples)
    chosen.loss(model, Loader(job.samples, batch_size=8, seed=0).batch(0)).loss_sum.backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", families())
def test_a_family_learns_exports_is_measured_and_answers(name, config, samples_for, corpus, run_train, tmp_path):
    samples = samples_for(name)
    out, facts, _ = run_train(config(name), samples, name="pretrain")
    assert facts["final_loss"] < math.log(samples.json("samples.json")["vocab_size"]) - 0.4, "less than a blind guess"
    assert family_of(out).name == name

    again, _, _ = run_train(config(name, name="more", tokens=512, learning_rate=1e-9), samples, Export(out), "more")
    architecture = type(initial_model(Job(config(name), samples, None, tmp_path)))
    first, second = (exported_weights(folder, architecture) for folder in (out, again))
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first), "it began from the export"

    report = tmp_path / "report"
    report.mkdir()
    asked = EvaluateConfig(held_out_documents=4, prompts=("The work",), sample_tokens=4)
    evaluate(asked, Export(out), corpus, out=report, scratch=tmp_path, report=lambda r: None)
    assert json.loads((report / "report.json").read_text())["scores"]
    assert "The work" in (report / "report.html").read_text()

    engine = open_engine(out, digest(folder_content(out, "export")), threads=1)
    assert set(engine.endpoints) == set(family(name).endpoints)
