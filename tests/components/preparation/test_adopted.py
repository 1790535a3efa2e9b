"""Samples made with the processor of an existing model: its tokens, its template, its end."""

import json

import numpy as np
import pytest
from small_models import save_small_model
from transformers import AutoTokenizer

from components.artifacts import Export, Samples, SourceFiles
from components.errors import RecipeError
from components.preparation.chats import prepare_chats
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig

CONFIG = PrepareConfig(context=64)
TALK = [
    {"role": "user", "content": "Who is\nin want of a wife?"},
    {"role": "assistant", "content": " A single man.<|im_end|>"},
    {"role": "user", "content": "Universally?"},
    {"role": "assistant", "content": "It is a truth."},
]


@pytest.fixture
def prepared(corpus, tmp_path):
    def run(base, lines):
        folders = [tmp_path / name for name in ("samples", "chats")]
        for folder in folders:
            folder.mkdir()
        keep = {"scratch": tmp_path, "report": lambda row: None}
        prepare(CONFIG, corpus, Export(base), out=folders[0], **keep)
        file = tmp_path / "talk.jsonl"
        file.write_text("\n".join(map(json.dumps, lines)))
        source = SourceFiles("talk", file, "CC0-1.0", "written here", "0" * 64)
        prepare_chats(CONFIG.model_copy(update={"context": 128}), Samples(folders[0]), source, out=folders[1], **keep)
        return [Samples(folder) for folder in folders]

    return run


def test_documents_are_encoded_by_the_base(prepared, texts, tmp_path):
    base = save_small_model(tmp_path / "base")
    samples, _ = prepared(base, [{"messages": TALK}])
    described = samples.json("samples.json")
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert (described["vocab_size"], described["eos_token_id"]) == (352, tokenizer.eos_token_id)
    expected = [*tokenizer(texts[0], split_special_tokens=True)["input_ids"], tokenizer.eos_token_id]
    assert np.fromfile(samples.path / "tokens.bin", dtype=np.uint16)[: len(expected)].tolist() == expected
    assert (samples.processor / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "Speak."}]])
def test_chats_are_what_the_base_s_template_gives_and_answers_alone_count(prepared, tmp_path, system):
    base = save_small_model(tmp_path / "base")
    honest = [{**m, "content": m["content"].replace("<|im_end|>", "")} for m in TALK]
    _, chats = prepared(base, [{"messages": [*system, *honest]}, {"messages": [*system, *TALK]}])
    tokenizer = AutoTokenizer.from_pretrained(base)
    expected = tokenizer.apply_chat_template([*system, *honest], tokenize=True)["input_ids"]
    offsets = np.load(chats.path / "offsets.npy")
    ids = np.fromfile(chats.path / "tokens.bin", dtype=np.uint16)
    mask = np.fromfile(chats.path / "mask.bin", dtype=np.uint8).astype(bool)
    assert ids[: offsets[1]].tolist() == expected
    counted = tokenizer.decode(ids[: offsets[1]][mask[: offsets[1]]].tolist())
    assert counted == " A single man.<|im_end|>It is a truth.<|im_end|>"
    forged = ids[offsets[1] :].tolist()  # the end that a message spells out is text
    assert forged.count(tokenizer.eos_token_id) == expected.count(tokenizer.eos_token_id)


def test_a_base_without_a_template_gets_a_plain_one(prepared, tmp_path):
    base = save_small_model(tmp_path / "base", chat_template=None)
    _, chats = prepared(base, [{"prompt": "Who?", "completion": "He."}])
    tokenizer = AutoTokenizer.from_pretrained(chats.processor)
    text = tokenizer.decode(np.fromfile(chats.path / "tokens.bin", dtype=np.uint16).tolist())
    assert text == "user: Who?\nassistant: He.<|im_end|>"


def test_a_context_longer_than_the_base_s_is_refused(corpus, tmp_path):
    base = save_small_model(tmp_path / "base")
    with pytest.raises(RecipeError, match=r"prepare.context = 256 is more than the base reads at once, 128 tokens"):
        prepare(
            PrepareConfig(context=256), corpus, Export(base), out=tmp_path, scratch=tmp_path, report=lambda row: None
        )
