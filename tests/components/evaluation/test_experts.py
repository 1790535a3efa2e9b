"""How evenly experts are used, against counts taken inside the model; and the baseline of xz."""

import json
import lzma
import shutil

import pytest
import torch

from components.artifacts import Export
from components.recipe import EvaluateConfig


@pytest.fixture
def mixture(export, tmp_path):
    """The dense export's tokenizer with a mixture of three experts."""
    from transformers import MixtralConfig, MixtralForCausalLM

    folder = tmp_path / "mixture"
    shutil.copytree(export.path, folder)
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = {"num_local_experts": 3, "intermediate_size": 32, "max_position_embeddings": 64}
    special = {"bos_token_id": None, "eos_token_id": 0}
    MixtralForCausalLM(MixtralConfig(vocab_size=400, **shape, **experts, **special)).save_pretrained(folder)
    return Export(folder)


def test_shares_are_those_counted_inside_the_model(run_evaluate, mixture, make_corpus, texts, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = texts[1][0]  # one window
    corpus = make_corpus(tmp_path / "one", texts[0][:1], [text])
    out, _, _ = run_evaluate(EvaluateConfig(prompts=("Emma",), sample_tokens=2), export=mixture, corpus=corpus)
    content = json.loads((out / "report.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(mixture.path)
    counts = []
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(
            lambda _, __, found: counts.append(found[2].flatten().bincount(minlength=3))
        )
    with torch.no_grad():
        model(input_ids=AutoTokenizer.from_pretrained(mixture.path)(text, return_tensors="pt")["input_ids"])
    expected = [(3 * count / count.sum()).tolist() for count in counts]
    for row, want in zip(content["experts"], expected, strict=True):
        assert row == pytest.approx(want, abs=1e-4)
    assert content["scores"]["least_expert_share"]["value"] == pytest.approx(min(map(min, expected)), abs=1e-6)
    assert content["scores"]["most_expert_share"]["value"] == pytest.approx(max(map(max, expected)), abs=1e-6)
    assert "Experts" in (out / "report.html").read_text()
    bits = 8 * len(lzma.compress(text.encode(), preset=9)) / len(text.encode())
    assert content["scores"]["xz_bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-6)
