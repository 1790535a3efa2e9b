"""Models made elsewhere: taken as they are, or refused in one line that says why."""

import json

import pytest
import torch
from small_models import save_small_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DistilBertConfig

from components.artifacts import SourceFiles
from components.bases.take import TakeConfig, take
from components.digests import digest, folder_content
from components.errors import SourceError

IDS = torch.tensor([[5, 9, 200, 31, 7]])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("saved") / "model", max_shard_size="60KB")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may spoil."""
    from shutil import copytree

    return copytree(saved, tmp_path / "model")


def taken(folder, tmp_path, name="taken"):
    out = tmp_path / name
    out.mkdir()
    source = SourceFiles("small", folder, "CC0-1.0", "made here", "0" * 64)
    return out, take(TakeConfig(), source, out=out, scratch=tmp_path, report=lambda row: None)


def test_what_is_taken_is_the_same_model(folder, tmp_path):
    out, facts = taken(folder, tmp_path)
    theirs, ours = (AutoModelForCausalLM.from_pretrained(f).eval()(IDS).logits for f in (folder, out))
    assert torch.equal(theirs, ours)
    chat = [{"role": "user", "content": "Who?"}]
    texts = [AutoTokenizer.from_pretrained(f).apply_chat_template(chat, tokenize=False) for f in (folder, out)]
    assert texts[0] == texts[1]
    assert facts["context"] == 128
    again, _ = taken(folder.rename(tmp_path / "elsewhere"), tmp_path, "again")
    assert digest(folder_content(out, "export")) == digest(folder_content(again, "export"))


def remove_a_shard(folder):
    next(iter(sorted(folder.glob("model-*.safetensors")))).unlink()
    return r"lacks model-00001-of-\d+.safetensors, one of the \d+ files that its index names"


def pickle_the_weights(folder):
    for file in folder.glob("model*"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return "pytorch_model.bin, which can run code when it is read: only safetensors are taken"


def lose_the_weights(folder):
    for file in folder.glob("model*"):
        file.unlink()
    return "lacks model.safetensors"


def ask_for_code(folder):
    change(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    (folder / "modeling.py").write_text("raise SystemExit('code of a model was run')")
    return r"config.json has an auto_map: this model needs code .* runs no code of a model"


def ask_for_a_tokenizer_with_code(folder):
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenizing.Evil", None]})
    return "tokenizer_config.json has an auto_map"


def be_of_no_known_type(folder):
    change(folder / "config.json", model_type="dreamer")
    return "transformers cannot read"


def be_no_decoder(folder):
    DistilBertConfig(architectures=["DistilBertModel"]).save_pretrained(folder)
    return "holds a DistilBertModel .* no decoder language model"


def have_a_small_vocabulary(folder):
    for file in folder.glob("model*"):
        file.unlink()
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, vocab_size=300)).save_pretrained(folder)
    return r"tokenizer of .* has \d+ tokens, its model only 300"


def have_no_tokenizer(folder):
    for file in folder.glob("*token*"):
        file.unlink()
    return "no tokenizer"


def have_a_torn_shard(folder):
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-100])
    return "cannot be loaded"


def lack_a_tensor(folder):
    change(folder / "config.json", n_layer=3)
    return "missing weights, transformer.h.2"


def be_empty(folder):
    (folder / "config.json").unlink()
    return "neither config.json nor a .gguf file"


def be_two(folder):
    (folder / "config.json").unlink()
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(b"GGUF")
    return r"several .gguf files \(a.gguf, b.gguf\): name one of them"


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    "spoil",
    [
        remove_a_shard,
        pickle_the_weights,
        lose_the_weights,
        ask_for_code,
        ask_for_a_tokenizer_with_code,
        be_of_no_known_type,
        be_no_decoder,
        have_a_small_vocabulary,
        have_no_tokenizer,
        have_a_torn_shard,
        lack_a_tensor,
        be_empty,
        be_two,
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(folder, tmp_path, spoil):
    says = spoil(folder)
    with pytest.raises(SourceError, match=says) as refused:
        taken(folder, tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_weights_that_are_not_finite(tmp_path):
    folder = save_small_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight[0, 0] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(SourceError, match=r"transformer.h.1.mlp.c_fc.weight holds values that are not finite"):
        taken(folder, tmp_path)
