"""An export as GGUF, read by others: transformers' own reader, and llama.cpp."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from components.bases.gguf import write_gguf
from components.errors import InputError
from components.models import family
from components.packages.fetch import fetch
from components.preparation.processors import processor

LLAMA_CPP = "pypi:xllamacpp==2026.10.11549!/xllamacpp"
TEXT = (
    "It was a truth universally acknowledged, that Emma Woodhouse, handsome, clever and rich, with a comfortable home."
)


@pytest.fixture(scope="module")
def export_of(tmp_path_factory):
    """A function: an export of a family's debug size with random weights."""

    def export(name: str) -> Path:
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp(name) / "model"
        kind = processor("byte_bpe")
        tokenizer = kind.train([TEXT] * 4, 320)
        kind.save(tokenizer, folder, 64)
        model = family(name).build(
            "debug", vocab_size=tokenizer.get_vocab_size() + 4, context=64, eos_token_id=0, pad_token_id=1
        )
        with torch.no_grad():  # fresh weights have no opinion of what comes next
            for parameter in model.parameters():
                parameter.mul_(4 if parameter.ndim > 1 else 1)
        model.save_pretrained(folder)
        return folder

    return export


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen"])
def test_transformers_reads_the_same_model_from_it(name, export_of, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export_of(name)
    write_gguf(folder, tmp_path / "model.gguf", "debug")  # by "mistral" in it transformers would go
    ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    ids = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")["input_ids"]
    assert tokenizer(TEXT)["input_ids"] == ids[0].tolist()
    with torch.inference_mode():
        assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "clip", "t5"])
def test_what_llama_cpp_does_not_know_is_refused(name, export_of, tmp_path):
    folder = tmp_path / "model"
    family(name).build("debug").save_pretrained(folder)
    with pytest.raises(InputError, match=r"cannot be written as GGUF. Known: LlamaForCausalLM"):
        write_gguf(folder, tmp_path / "model.gguf", name)


def test_a_tokenizer_that_would_be_read_as_another_is_refused(export_of, tmp_path):
    folder = export_of("llama")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="only byte-level BPE"):
        write_gguf(folder, tmp_path / "model.gguf", "llama")


@pytest.mark.fetched
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen", "mixtral"])
def test_llama_cpp_writes_the_same_greedy_text(name, export_of, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export_of(name)
    write_gguf(folder, tmp_path / "model.gguf", name)
    library = fetch(LLAMA_CPP, tmp_path / "cache", sha256=None, say=print)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("It was a truth", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        written = model.generate(input_ids=ids, max_new_tokens=16, do_sample=False)[0, ids.shape[1] :]
    expected = tokenizer.decode(written, skip_special_tokens=True)
    code = (
        "import json, sys, xllamacpp as x\n"
        "p = x.CommonParams(); p.model.path = sys.argv[1]; p.n_ctx = 64; p.cpuparams.n_threads = 1; p.warmup = False\n"
        "s = x.Server(p)\n"
        "a = s.handle_completions({'prompt': 'It was a truth', 'n_predict': 16, 'temperature': 0})\n"
        "print('ANSWER' + json.dumps(a))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(library.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.gguf")], capture_output=True, text=True, env=env, timeout=120
    )
    answer = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    assert answer, done.stderr[-2000:]
    assert json.loads(answer[0].removeprefix("ANSWER"))["choices"][0]["text"] == expected != ""
