"""Training that starts from an existing model, of an architecture that no family here has."""

import pytest
import torch
from small_models import save_small_model
from transformers import AutoModelForCausalLM

from components.artifacts import Corpus, Export, Samples
from components.errors import TrainingError, UnknownName
from components.preparation.prepare import prepare


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return Export(save_small_model(tmp_path_factory.mktemp("base") / "model"))


@pytest.fixture(scope="module")
def samples_of_base(base, samples, tmp_path_factory, prepare_config):
    folder = tmp_path_factory.mktemp("samples")
    prepare(prepare_config, Corpus(samples.path.parent), base, out=folder, scratch=folder, report=lambda row: None)
    return Samples(folder)


def from_base(configure, **phase):
    return configure(init="source:base", **{"tokens": 2_000, **phase}).model_copy(update={"size": None})


def test_a_phase_goes_on_from_the_base(configure, base, samples_of_base, run_train):
    out, facts, _ = run_train(from_base(configure, learning_rate=1e-9), samples_of_base, base)
    model, start = (AutoModelForCausalLM.from_pretrained(folder) for folder in (out, base.path))
    assert type(model) is type(start)
    ids = torch.tensor([[5, 9, 200, 31, 7]])
    assert torch.allclose(model(ids).logits, start(ids).logits, atol=1e-5)
    assert model.generation_config.eos_token_id == start.generation_config.eos_token_id
    assert facts["parameters"] == sum(parameter.numel() for parameter in start.parameters())
    again, _, _ = run_train(from_base(configure, learning_rate=1e-2), samples_of_base, Export(out), name="next")
    assert AutoModelForCausalLM.from_pretrained(again)(ids).logits.sub(start(ids).logits).abs().max() > 1e-3


def test_what_does_not_fit_the_base_is_refused(configure, base, samples, samples_of_base, run_train):
    with pytest.raises(
        UnknownName, match=r"Unknown objective of an existing model 'masked_lm'. Known: causal_lm, sft, dpo"
    ):
        run_train(from_base(configure, objective="masked_lm"), samples_of_base, base)
    with pytest.raises(TrainingError, match="the samples were made with tokenizer"):
        run_train(from_base(configure), samples, base, name="other")
