"""LoRA: the base stays as it is, the adapter is peft's own, and merging it changes nothing that a user could see."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from small_models import save_small_model
from transformers import AutoModelForCausalLM

from components.artifacts import Corpus, Export, Samples
from components.digests import digest, folder_content
from components.preparation.prepare import prepare
from components.training.loader import Loader

IDS = torch.tensor([[5, 9, 200, 31, 7]])


@pytest.fixture(scope="module")
def start(configure, samples, tmp_path_factory):
    """A llama to start from: the export of a first phase."""
    from components.training.train import train

    folder = tmp_path_factory.mktemp("start")
    (folder / "out").mkdir()
    train(configure(tokens=4_000), samples, None, out=folder / "out", scratch=folder, report=lambda row: None)
    return Export(folder / "out")


@pytest.fixture
def lora(configure):
    def make(**phase):
        adapter = {"rank": 4, "alpha": 8}
        return configure(**{"name": "tune", "init": "phase:pretrain", "tokens": 6_000, "adapter": adapter, **phase})

    return make


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits


def loss(folder, samples):
    """Of the first 32 samples."""
    batch = Loader(samples, batch_size=32, seed=0).batch(0)
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(folder).eval()(batch.input_ids).logits
    return float(torch.nn.functional.cross_entropy(found.flatten(0, 1), batch.labels.flatten()))


def test_the_export_is_base_and_adapter_as_peft_adds_them_up(lora, samples, start, run_train):
    out, facts, _ = run_train(lora(learning_rate=1e-2), samples, start)
    base = AutoModelForCausalLM.from_pretrained(start.path)
    theirs = PeftModel.from_pretrained(base, out / "adapter")
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(out)), logits(theirs), atol=1e-4)
    assert not torch.allclose(logits(theirs), logits(AutoModelForCausalLM.from_pretrained(start.path)), atol=1e-2)
    assert theirs.peft_config["default"].base_model_name_or_path == digest(folder_content(start.path, "export"))
    num_adapter = sum(tensor.numel() for tensor in load_file(out / "adapter" / "adapter_model.safetensors").values())
    assert facts["trained_parameters"] == num_adapter
    assert loss(out, samples) < loss(start.path, samples)


def test_gradients_of_the_adapter_are_peft_s(lora, samples, start, tmp_path):
    from peft import LoraConfig, get_peft_model

    from components.training.config import Job
    from components.training.group import Group
    from components.training.loop import Loop

    loop = Loop(Job(lora(), samples, start, tmp_path), Group.current())
    adapters = dict(loop.model.named_parameters())
    theirs = get_peft_model(
        AutoModelForCausalLM.from_pretrained(start.path), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    )
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                if "lora_B" in name:
                    adapters[name.removeprefix("base_model.model.")].normal_(std=0.02)
                parameter.copy_(adapters[name.removeprefix("base_model.model.")])
    loop.reduce(0)
    batch = loop.loader.batch(0)
    found = theirs(batch.input_ids).logits
    torch.nn.functional.cross_entropy(found.flatten(0, 1), batch.labels.flatten()).backward()
    compared = 0
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            ours = adapters[name.removeprefix("base_model.model.")].grad
            assert torch.allclose(ours, parameter.grad, atol=1e-6), name
            compared += 1
    assert compared == 2 * 2 * 7  # A and B, two layers of seven linear ones


def test_a_resumed_adapter_ends_in_the_same_bits_and_its_checkpoint_is_small(lora, samples, start, run_train, tmp_path):
    config = lora(checkpoint_seconds=0.001)
    whole, _, _ = run_train(config, samples, start, name="whole")
    scratch = tmp_path / "whole" / "checkpoints"
    newest = sorted(scratch.glob("step-*"))[-1]
    held = set(load_file(newest / "model.safetensors"))
    assert held
    assert all(".lora_" in name for name in held)
    for file in newest.glob("*.safetensors"):  # torn: the one before it is taken, and the last steps done again
        file.write_bytes(file.read_bytes()[:-8])
    again, facts, _ = run_train(config, samples, start, name="whole")
    assert facts["resumed_from"] > 0
    assert folder_content(whole, "export") == folder_content(again, "export")


def test_an_adapter_on_a_model_of_another_family(configure, samples, run_train, tmp_path, prepare_config):
    base = Export(save_small_model(tmp_path / "base"))
    (tmp_path / "samples").mkdir()
    prepare(
        prepare_config,
        Corpus(samples.path.parent),
        base,
        out=tmp_path / "samples",
        scratch=tmp_path,
        report=lambda r: None,
    )
    config = configure(init="source:base", tokens=1_000, adapter={"rank": 2}).model_copy(update={"size": None})
    out, _, _ = run_train(config, Samples(tmp_path / "samples"), base)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.path), out / "adapter")
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(out)), logits(theirs), atol=1e-4)
