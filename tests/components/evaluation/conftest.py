from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.artifacts import Corpus, Export
from components.evaluation.evaluate import evaluate
from components.recipe import EvaluateConfig

EMMA = Path(__file__).parents[3] / "flows/recipes/data/tiny/austen/emma.txt"
CONTEXT = 64


def write_corpus(folder, train, held_out):
    folder.mkdir(parents=True, exist_ok=True)
    for split, texts in (("train", train), ("held_out", held_out)):
        pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), folder / f"{split}.parquet")
    return Corpus(folder)


@pytest.fixture
def make_corpus():
    return write_corpus


@pytest.fixture(scope="session")
def texts():
    """Training and held-out documents; of the latter one is short, one fills many windows, one spells out a token."""
    emma = EMMA.read_text()
    train = [emma[i : i + 3000] for i in range(0, 36_000, 3000)]
    return train, ["A very short caf\u00e9.", emma[40_000:42_500], "It says <|end|> here.", emma[50_000:50_700], ""]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, texts):
    return write_corpus(tmp_path_factory.mktemp("corpus"), *texts)


@pytest.fixture(scope="session")
def export(tmp_path_factory, texts):
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("export")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts[0], trainers.BpeTrainer(vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,  # so that a prediction depends on its history
        bos_token_id=None,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return Export(folder)


@pytest.fixture
def run_evaluate(tmp_path, export, corpus):
    """Evaluate and return (out, facts, reports)."""
    runs = []

    def run(config=None, *items, export=export, corpus=corpus):
        out = tmp_path / f"out-{len(runs)}"
        out.mkdir()
        runs.append(out)
        reports = []
        facts = evaluate(
            config or EvaluateConfig(), export, corpus, *items, out=out, scratch=tmp_path, report=reports.append
        )
        return out, facts, reports

    return run
