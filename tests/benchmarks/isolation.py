"""What isolated documents, packed chats and Muon cost or bring: one optimizer step of the 12.6M Llama, fp32, eagerly.

Interleaves the variants over the same shipped texts (forward, backward and step; context 512, 8 rows) and prints as its
last line {"ours": tokens/s with isolated documents, "peers": {"plain": tokens/s without}, "ratio", "packed_chats",
"padded_chats" (real tokens/s), "muon_step_seconds", "adamw_step_seconds", "runs"}: medians.
"""

import json
import re
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from components.artifacts import Samples, SourceFiles
from components.preparation.chats import prepare_chats
from components.recipe import PrepareConfig, TrainPhase
from components.training.flat import FlatModel
from components.training.loader import Loader
from components.training.objectives import objective
from components.training.optimizers import make_optimizer
from tests.support.shipped import DATA, shipped_samples

CONFIG = PrepareConfig(vocab_size=8192, context=512)
RUNS, ROWS = 5, 8


def main() -> None:
    """Measure and print."""
    _machine()
    with tempfile.TemporaryDirectory() as folder:
        texts, chats = _samples(Path(folder))
        loaders = {
            "plain": Loader(texts, batch_size=ROWS, seed=0),
            "isolated": Loader(texts, batch_size=ROWS, seed=0, isolate_documents=True),
            "padded_chats": Loader(chats, batch_size=4 * ROWS, seed=0),
            "packed_chats": Loader(chats, batch_size=ROWS, seed=0, pack_chats=True),
        }
        rates, steps = _measured(loaders)
    median = {name: round(statistics.median(found), 1) for name, found in rates.items()}
    row = {"ours": median["isolated"], "peers": {"plain": median["plain"]}}
    row |= {"ratio": round(median["isolated"] / median["plain"], 3)}
    row |= {name: median[name] for name in ("packed_chats", "padded_chats")}
    row |= {f"{name}_step_seconds": round(statistics.median(found), 4) for name, found in steps.items()}
    print(json.dumps({**row, "runs": RUNS}))


def _measured(loaders: dict[str, Loader]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Real tokens per second of each loader's batches, and seconds of each optimizer's step, run by run."""
    model = _model()
    flat = FlatModel(model, num_sums=0)
    optimizers = {
        name: make_optimizer(TrainPhase(name="p", epochs=1, optimizer=name, learning_rate=1e-4), flat, model)
        for name in ("adamw", "muon")
    }
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    steps: dict[str, list[float]] = {name: [] for name in optimizers}
    for run in range(RUNS + 1):  # the first warms up
        for name, loader in loaders.items():
            batch = loader.batch(run)
            flat.reduced.zero_()
            started = time.monotonic()
            objective("causal_lm").loss(model, batch).loss_sum.backward()
            seconds = time.monotonic() - started
            print(f"{name}: {batch.input_ids.shape}, {batch.num_tokens} tokens, {seconds:.2f} s", flush=True)
            rates[name] += [batch.num_tokens / seconds] if run else []
        for name, optimizer in optimizers.items():
            started = time.monotonic()
            optimizer.step()
            steps[name] += [time.monotonic() - started] if run else []
    return rates, steps


def _samples(folder: Path) -> tuple[Samples, Samples]:
    """Paragraphs of the shipped texts as documents, and the shipped instructions."""
    texts = shipped_samples(folder, CONFIG)
    (folder / "chats").mkdir()
    source = SourceFiles("instructions", DATA / "instructions.jsonl", "CC0-1.0", "shipped", "")
    prepare_chats(CONFIG, texts, source, out=folder / "chats", scratch=folder, report=lambda line: None)
    return texts, Samples(folder / "chats")


def _model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=CONFIG.vocab_size,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=2,
            intermediate_size=1024,
            tie_word_embeddings=True,
        )
    )


def _machine() -> None:
    """The processor's flags and its fp32 product."""
    flags = set(re.findall(r"avx\w*|amx\w*", Path("/proc/cpuinfo").read_text()))
    matrix = torch.randn(2048, 2048)
    torch.nn.functional.linear(matrix, matrix)
    started = time.monotonic()
    for _ in range(3):
        torch.nn.functional.linear(matrix, matrix)
    rate = 3 * 2 * 2048**3 / (time.monotonic() - started) / 1e9
    print(f"{torch.get_num_threads()} threads, {' '.join(sorted(flags))}; fp32 2048-cubed: {rate:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
