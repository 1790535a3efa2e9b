"""What every family promises, through the stages themselves: its debug size is prepared for, trained, exported, measured."""

import json
import math

import pytest
import torch

from components.artifacts import Export
from components.digests import digest, folder_content
from components.evaluation.evaluate import evaluate
from components.models import families, family, family_of
from components.recipe import EvaluateConfig
from components.serving.engines import open_engine
from components.training.adapters import trained
from components.training.config import Job
from components.training.loader import Loader
from components.training.model import exported_weights, initial_model
from components.training.objectives import objective

QUIET = {"report": lambda row: None}
UNSEEN = {"reader": {"classifier.bias"}}
"""What is added to all places alike: where of them an answer begins and ends does not depend on it."""


def blind(name, samples):
    """The loss of who guesses: one of all tokens, of the batch's eight partners, of two labels; black for pictures on white."""
    guesses = {
        "contrastive": math.log(8),
        "autoencoding": 1.0,
        "classification": math.log(2),
        "extraction": math.log(64),
    }
    return guesses.get(family(name).objectives[0], math.log(samples.json("samples.json")["vocab_size"]))


@pytest.mark.parametrize("name", families())
def test_gradients_reach_every_parameter_and_a_seed_gives_the_same_weights(name, config, samples_for, tmp_path):
    job = Job(config(name), samples_for(name), None, tmp_path)
    model, again = initial_model(job), initial_model(job)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    chosen = objective(job.config.phase.objective).of(job.config.phase, job.samples)
    batch = Loader(job.samples, batch_size=8, seed=0).batch(0)
    chosen.loss(model, batch).loss_sum.backward()
    weights = trained(model)
    assert [key for key, p in weights.items() if p.grad is None] == []
    assert {key for key, p in weights.items() if not p.grad.any()} <= UNSEEN.get(name, set())


@pytest.mark.parametrize("name", families())
def test_a_family_learns_exports_is_measured_and_answers(name, config, samples_for, corpora, run_train, tmp_path):
    samples = samples_for(name)
    out, facts, _ = run_train(config(name), samples, name="pretrain")
    assert facts["final_loss"] < blind(name, samples) - 0.4, "less than a blind guess"
    if name == "llava":  # the vision tower is frozen
        still = facts["parameters"] - facts["trained_parameters"]
        assert facts["flops"] == (6 * facts["trained_parameters"] + 4 * still) * facts["tokens"]
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
