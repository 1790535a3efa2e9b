"""Training: the loss falls, the export is the trained model for plain transformers, and bad input is refused."""

import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.artifacts import Export, Samples
from components.digests import folder_content
from components.errors import StoreError, TrainingError, UnknownName
from components.recipe import identity_fields
from components.training.config import Job
from components.training.group import Group
from components.training.loop import Loop
from components.training.model import fresh_model, initial_model, put_weights
from components.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory, configure, samples):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "out").mkdir()
    reports = []
    facts = train(configure(), samples, None, out=folder / "out", scratch=folder, report=reports.append)
    return folder, facts, reports


def test_loss_falls_on_real_text(trained):
    _, facts, reports = trained
    steps = math.ceil(40_000 / (8 * 64))
    assert reports[-1]["done"] == reports[-1]["total"] == facts["steps"] == steps
    assert facts["final_loss"] == reports[-1]["loss"] < math.log(512) - 1
    assert facts["tokens"] == steps * 8 * 64
    assert facts["flops"] == 6 * facts["parameters"] * facts["tokens"]


def test_export_in_plain_transformers_is_the_trained_model(trained, configure, samples):
    folder, facts, _ = trained
    model = fresh_model(configure(), samples)
    put_weights(model, load_file(folder / "checkpoints" / f"step-{facts['steps']:08d}" / "model.safetensors"), "")
    tokenizer = AutoTokenizer.from_pretrained(folder / "out")
    prompt = tokenizer("You may obtain a copy of the License", return_tensors="pt")
    reloaded = AutoModelForCausalLM.from_pretrained(folder / "out")
    with torch.no_grad():
        ours, theirs = model(prompt["input_ids"]).logits, reloaded(prompt["input_ids"]).logits
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=0)
    assert tokenizer.decode(prompt["input_ids"][0]) == "You may obtain a copy of the License"
    assert tokenizer.chat_template == (samples.processor / "chat_template.jinja").read_text()
    assert reloaded.generation_config.eos_token_id == tokenizer.eos_token_id
    assert reloaded.config.max_position_embeddings == tokenizer.model_max_length == 64


def test_same_phase_gives_the_same_digest_and_is_not_trained_twice(trained, configure, samples, run_train):
    folder, facts, _ = trained
    (folder / "again").mkdir()
    again = train(configure(), samples, None, out=folder / "again", scratch=folder, report=lambda r: None)
    fresh, _, reports = run_train(configure(), samples)
    assert reports
    assert again["seconds"] == facts["seconds"]
    contents = [folder_content(path, "export") for path in (folder / "out", folder / "again", fresh)]
    assert contents[0] == contents[1] == contents[2]


def test_finetuning_starts_from_the_export(trained, configure, chats, run_train, tmp_path):
    folder, _, _ = trained
    config = configure(name="finetune", objective="sft", init="phase:pretrain", data="source:pairs", epochs=4)
    init = Export(folder / "out")
    start = dict(initial_model(Job(config, chats, init, tmp_path)).named_parameters())
    assert all(
        torch.equal(start[name], weights) for name, weights in load_file(init.path / "model.safetensors").items()
    )
    out, facts, reports = run_train(config, chats, init)
    assert facts["steps"] == math.ceil(4 * 13 / 8)
    assert 0 <= reports[-1]["accuracy"] <= 1
    assert folder_content(out, "export")["files"].keys() == folder_content(init.path, "export")["files"].keys()


def test_preferences_move_the_model_away_from_its_start(trained, configure, preferences, run_train):
    """Through the whole verb: the reference is the model that the phase starts from, so the first loss is log 2."""
    folder, _, _ = trained
    config = configure(
        name="align", objective="dpo", init="phase:pretrain", data="source:pairs", epochs=20, learning_rate=1e-3
    )
    _, facts, reports = run_train(config, preferences, Export(folder / "out"))
    first = Loop(Job(config, preferences, Export(folder / "out"), folder), Group(0, 1)).step(0)
    assert facts["steps"] == math.ceil(20 * 11 / 8)
    assert first["loss"] == pytest.approx(math.log(2))
    assert reports[-1]["loss"] < 0.5
    assert reports[-1]["margin"] > 0.5
    assert reports[-1]["accuracy"] == 1


def test_another_tokenizer_is_refused(trained, configure, chats, run_train, tmp_path):
    folder, _, _ = trained
    other = tmp_path / "other"
    shutil.copytree(folder / "out", other)
    tokenizer = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(tokenizer + " ")
    with pytest.raises(TrainingError, match=rf"tokenizer [0-9a-f]{{8}} \({chats.processor}\).*\({other}\)"):
        run_train(configure(objective="sft"), chats, Export(other))


def test_loss_that_stays_not_finite_ends_the_phase(configure, samples, run_train):
    says = (
        r"gradient norm nan at step \d+ of 79, after 2 skipped windows \(max_skips\); try a learning_rate below 1e\+30"
    )
    with pytest.raises(TrainingError, match=says):
        run_train(configure(learning_rate=1e30, max_skips=2), samples)


def test_scratch_of_another_configuration_is_refused(trained, configure, samples):
    folder, _, _ = trained
    with pytest.raises(TrainingError, match="belongs to another configuration"):
        train(configure(seed=1), samples, None, out=folder / "out", scratch=folder, report=lambda r: None)


def test_names_and_kinds_are_checked_before_work(configure, samples, run_train):
    with pytest.raises(UnknownName, match=r"'rlhf'\. Known: causal_lm, sft, dpo"):
        run_train(configure(objective="rlhf"), samples)
    with pytest.raises(UnknownName, match=r"'tiny'\. Known: debug"):
        run_train(configure().model_copy(update={"size": "tiny"}), samples)
    with pytest.raises(TrainingError, match="sft learns from chats, but the samples are tokens"):
        run_train(configure(objective="sft"), samples)


def test_where_work_is_done_is_no_part_of_the_identity(configure):
    fields = identity_fields(configure(checkpoint_seconds=1))
    assert fields == identity_fields(configure(checkpoint_seconds=99, budget_seconds=5))
    assert fields != identity_fields(configure(seed=1))
    assert fields["phase"]["tokens"] == 40_000


def test_samples_that_are_cut_short_are_refused(configure, samples, run_train, tmp_path):
    shutil.copytree(samples.path, tmp_path / "short")
    (tmp_path / "short" / "tokens.bin").write_bytes((samples.path / "tokens.bin").read_bytes()[:-2])
    with pytest.raises(StoreError, match=r"tokens\.bin has the digest .*samples\.json says"):
        run_train(configure(), Samples(tmp_path / "short"))
