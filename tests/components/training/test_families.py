"""Every family goes the way of training: it learns from real text, its export is the trained model, a phase follows."""

import pytest
import torch

from components.artifacts import Export
from components.models import families


@pytest.mark.parametrize("name", families())
def test_a_family_learns_exports_and_is_finetuned(name, configure, samples, chats, run_train):
    config = configure(tokens=25_000, learning_rate=1e-2).model_copy(update={"family": name})
    out, facts, reports = run_train(config, samples, name="pretrain")
    losses = [line["loss"] for line in reports if "loss" in line]
    assert facts["final_loss"] < min(5.5, losses[0])
    assert facts["flops"] < 6 * facts["parameters"] * facts["tokens"] or name != "mixtral", "some experts always rest"

    tuned = configure(name="finetune", objective="sft", epochs=1, learning_rate=1e-9).model_copy(
        update={"family": name}
    )
    again, facts, _ = run_train(tuned, chats, init=Export(out), name="finetune")
    first, second = (weights(folder) for folder in (out, again))
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first), "it began from the export"


def weights(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    return {key: parameter.detach() for key, parameter in model.named_parameters()}
