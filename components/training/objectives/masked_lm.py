"""Masked language modelling (Devlin et al. 2019, "BERT"): tell what hidden tokens were, from both sides."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from components.artifacts import Samples
from components.errors import TrainingError
from components.recipe import TrainPhase
from components.training.batch import Batch
from components.training.draws import Draws
from components.training.losses import summed_cross_entropy
from components.training.objectives.base import IGNORED, Loss, Objective, z_loss_of
from components.training.vocabulary import Vocabulary

HIDDEN = 0.15
"""Of the tokens that are text."""
MASKED, RANDOM = 0.8, 0.1
"""Of the hidden ones: replaced by the mask token, by any token of the vocabulary; the rest are left as they are."""


@dataclass(frozen=True)
class Masking:
    """Which tokens of a sample are hidden: a function of the seed and the sample's global index."""

    seed: int
    vocabulary: Vocabulary

    def __call__(self, tokens: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels (IGNORED where nothing is hidden) for int64 `tokens` (time,).

        As BERT's own code: 15% of the tokens that are not special, rounded and at least one, drawn without
        replacement. In another epoch a sample has another index, and so another mask.
        """
        draws = Draws("masked_lm", self.seed, index)
        text = np.flatnonzero(~np.isin(tokens, list(self.vocabulary.special)))
        hidden = text[draws.subset(max(1, round(HIDDEN * len(text))), len(text))]
        inputs, labels = tokens.copy(), np.full_like(tokens, IGNORED)
        labels[hidden] = tokens[hidden]
        fate, anything = draws.uniform(len(hidden)), draws.below(self.vocabulary.size, len(hidden))
        inputs[hidden[fate < MASKED]] = self.vocabulary.mask
        at_random = (fate >= MASKED) & (fate < MASKED + RANDOM)
        inputs[hidden[at_random]] = anything[at_random]
        return inputs, labels


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The masking and z-loss of a phase. Raises TrainingError where the tokenizer has no mask token."""
    vocabulary = Vocabulary.of(samples)
    if vocabulary.mask is None:
        raise TrainingError(
            f"Phase {phase.name}: masked_lm needs a tokenizer with a mask token, {samples.processor} has none."
        )
    return {"masking": Masking(phase.seed, vocabulary), **z_loss_of(phase, samples)}


def loss(model: nn.Module, batch: Batch, *, masking: Masking, z_loss: float = 0.0) -> Loss:
    """Cross-entropy summed over the hidden tokens, in nats, and how many of them were the likeliest token."""
    masked = [masking(row.numpy(), int(i)) for row, i in zip(batch.input_ids.cpu(), batch.indices, strict=True)]
    inputs, labels = (torch.from_numpy(np.stack(side)).to(batch.input_ids.device) for side in zip(*masked, strict=True))
    total, correct, _ = summed_cross_entropy(model, labels, z_loss=z_loss, input_ids=inputs)
    return Loss(total, int((labels != IGNORED).sum()), {"accuracy": correct})


OBJECTIVE = Objective(kind="tokens", loss=loss, metrics=("accuracy",), settings=settings)
