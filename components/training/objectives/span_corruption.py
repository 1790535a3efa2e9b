"""Span corruption (Raffel et al. 2020, "T5"): write what stood in hidden spans, for encoder-decoder models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from components.artifacts import Samples
from components.errors import TrainingError
from components.recipe import TrainPhase
from components.training.batch import Batch, padded
from components.training.draws import Draws
from components.training.losses import summed_cross_entropy
from components.training.objectives.base import IGNORED, Loss, Objective, z_loss_of
from components.training.vocabulary import Vocabulary

HIDDEN = 0.15
"""Of the tokens."""
SPAN = 3.0
"""Mean length of a hidden span."""


@dataclass(frozen=True)
class Corruption:
    """Which spans of a sample are hidden: a function of the seed and the sample's global index."""

    seed: int
    vocabulary: Vocabulary

    def __call__(self, tokens: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        """What the encoder reads and what the decoder writes, int64, for int64 `tokens` (time,).

        Each hidden span is one sentinel for the encoder; the decoder writes each sentinel and its span. Both end with
        the end token, as T5's own code has it.
        """
        bounds = self.bounds(len(tokens), index)
        kept, hidden = [], []
        for number, (start, end, until) in enumerate(bounds):
            sentinel = [self.vocabulary.sentinels[number]]
            kept += [tokens[start:end], sentinel]
            hidden += [sentinel, tokens[end:until]]
        end_token = [self.vocabulary.eos]
        return np.concatenate([*kept, end_token]).astype(np.int64), np.concatenate([*hidden, end_token]).astype(
            np.int64
        )

    def bounds(self, length: int, index: int) -> list[tuple[int, int, int]]:
        """(start, end, until) of each stretch: tokens start to end are kept, those from end to until are hidden."""
        draws = Draws("span_corruption", self.seed, index)
        num_hidden, num_spans = spans(length)
        hidden = _cut(num_hidden, num_spans, draws)
        kept = _cut(length - num_hidden, num_spans, draws)
        ends = np.cumsum(np.stack([kept, hidden], axis=1).flatten()).reshape(-1, 2)
        return [
            (int(until - h - k), int(end), int(until)) for (end, until), k, h in zip(ends, kept, hidden, strict=True)
        ]


def spans(length: int) -> tuple[int, int]:
    """How many of `length` tokens are hidden, in how many spans."""
    num_hidden = min(max(round(HIDDEN * length), 1), length - 1)
    return num_hidden, min(max(round(num_hidden / SPAN), 1), length - num_hidden)


def _cut(total: int, parts: int, draws: Draws) -> np.ndarray:
    """`total` as the sum of `parts` numbers of at least 1, each such sum as likely as any other."""
    inner = draws.subset(parts - 1, total - 1) + 1
    return np.diff(np.concatenate([[0], inner, [total]]))


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The corruption and z-loss of a phase. Raises TrainingError where the tokenizer has too few sentinels."""
    vocabulary, context = Vocabulary.of(samples), samples.json("samples.json")["context"]
    _, needed = spans(context)
    if len(vocabulary.sentinels) < needed:
        raise TrainingError(
            f"Phase {phase.name}: span_corruption of {context} tokens hides {needed} spans, and the tokenizer has "
            f"{len(vocabulary.sentinels)} sentinels <extra_id_N>: lower prepare.context or take another tokenizer."
        )
    return {"corruption": Corruption(phase.seed, vocabulary), **z_loss_of(phase, samples)}


def loss(model: nn.Module, batch: Batch, *, corruption: Corruption, z_loss: float = 0.0) -> Loss:
    """Cross-entropy summed over all that the decoder writes, in nats, and how much of it was the likeliest token."""
    pairs = [corruption(row.numpy(), int(i)) for row, i in zip(batch.input_ids.cpu(), batch.indices, strict=True)]
    device, pad = batch.input_ids.device, corruption.vocabulary.pad
    inputs = padded([read for read, _ in pairs], pad).to(device)
    labels = padded([written for _, written in pairs], IGNORED).to(device)
    # T5's decoder starts with the padding token.
    decoder_inputs = labels.roll(1, dims=1).masked_fill(labels.roll(1, dims=1) == IGNORED, pad)
    decoder_inputs[:, 0] = pad
    mask = padded([np.ones_like(read) for read, _ in pairs], 0).to(device)
    read: dict[str, Any] = {
        "input_ids": inputs,
        "attention_mask": mask,
        "decoder_input_ids": decoder_inputs,
        "use_cache": False,
    }
    total, correct, _ = summed_cross_entropy(model, labels, z_loss=z_loss, **read)
    return Loss(total, int((labels != IGNORED).sum()), {"accuracy": correct})


OBJECTIVE = Objective(kind="tokens", loss=loss, metrics=("accuracy",), settings=settings)
