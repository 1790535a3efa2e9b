"""Pretraining: predict every next token of running text."""

from torch import nn

from components.training.batch import Batch
from components.training.objectives.base import Loss, Objective, next_token_loss


def loss(model: nn.Module, batch: Batch) -> Loss:
    """Cross-entropy summed over all tokens, in nats."""
    return next_token_loss(model, batch)[0]


OBJECTIVE = Objective(kind="tokens", loss=loss)
