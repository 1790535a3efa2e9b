"""What a causal model in training writes, for people to look at."""

import torch
from torch import nn

from components.artifacts import Samples
from components.training.loader import Loader

PROMPT, WRITTEN = 8, 32
"""Tokens of the beginning, which is that of the first sample, and tokens written after it."""


def sample_of_text(model: nn.Module, samples: Samples, loader: Loader) -> str:
    """The beginning and what `model` takes for the likeliest to follow. Draws nothing at random and changes nothing.

    Every worker calls this: a layer that lies in shards needs them all.
    """
    from tokenizers import Tokenizer

    ids = loader.samples([0]).input_ids[:, :PROMPT].to(next(model.parameters()).device)
    model.eval()
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # each length would be compiled
        for _ in range(WRITTEN):
            logits = model(input_ids=ids, use_cache=False).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    model.train()
    tokenizer = Tokenizer.from_file(str(samples.processor / "tokenizer.json"))
    text: str = tokenizer.decode(ids[0].tolist())
    return text
