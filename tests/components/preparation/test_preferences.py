"""Preference pairs: both answers of each prompt, with a mask on the answer, and clear errors."""

import json

import numpy as np
import pytest
from transformers import AutoTokenizer

from components.artifacts import Samples, SourceFiles
from components.digests import file_digest
from components.errors import EmptyResult, SourceError
from components.preparation.preferences import prepare_preferences
from components.recipe import PrepareConfig

PAIR = {"prompt": "What is a Licence?", "chosen": "The terms and conditions.", "rejected": "No."}
EQUAL = {"prompt": "Who?", "chosen": "You.", "rejected": "You."}


@pytest.fixture
def prepared(corpus, run_prepare, tmp_path):
    samples = Samples(run_prepare(corpus)[0])

    def run(*lines, context=64):
        path, out = tmp_path / "pairs.jsonl", tmp_path / "pairs"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        out.mkdir()
        source = SourceFiles("pairs", path, "CC0-1.0", "written here", file_digest(path))
        config = PrepareConfig(vocab_size=512, context=context)
        return Samples(out), prepare_preferences(
            config, samples, source, out=out, scratch=tmp_path, report=lambda r: None
        )

    return run


def test_each_pair_is_two_documents_of_the_chat_template(prepared):
    samples, facts = prepared(PAIR, EQUAL, {**PAIR, "rejected": "long " * 100})
    assert (facts["num_documents"], facts["num_too_long"], facts["num_equal"]) == (2, 1, 1)
    assert samples.json("samples.json")["kind"] == "preferences"
    tokenizer = AutoTokenizer.from_pretrained(samples.processor)
    tokens = np.fromfile(samples.path / "tokens.bin", dtype=np.uint16)
    mask = np.fromfile(samples.path / "mask.bin", dtype=np.uint8).astype(bool)
    offsets = np.load(samples.path / "offsets.npy")
    for number, side in enumerate(("chosen", "rejected")):
        at = slice(offsets[number], offsets[number + 1])
        messages = [{"role": "user", "content": PAIR["prompt"]}, {"role": "assistant", "content": PAIR[side]}]
        assert tokens[at].tolist() == tokenizer.apply_chat_template(messages, tokenize=True)["input_ids"]
        assert tokenizer.decode(tokens[at][mask[at]].tolist()) == PAIR[side] + "<|end|>"


def test_nothing_left_is_said(prepared):
    with pytest.raises(EmptyResult, match="none of 1 pairs differs in its answers and fits into 64 tokens"):
        prepared(EQUAL)


@pytest.mark.parametrize(
    "line", ["{broken", "[1]", '{"prompt": "a", "chosen": "b"}', '{"prompt": "a", "chosen": "b", "rejected": 3}']
)
def test_malformed_line_is_named(prepared, line):
    with pytest.raises(SourceError, match=r"pairs\.jsonl, line 2: .*expected \{\"prompt\": text, \"chosen\": text"):
        prepared(PAIR, line)
