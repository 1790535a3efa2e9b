"""Pretraining: predict every next token of running text."""

from torch import nn

from components.training.batch import Batch
from components.training.objectives.base import Loss, Objective, next_token_loss, z_loss_of


def loss(model: nn.Module, batch: Batch, *, z_loss: float = 0.0) -> Loss:
    """Cross-entropy summed over all tokens, in nats."""
    return next_token_loss(model, batch, z_loss, whole=True)[0]


OBJECTIVE = Objective(kind="tokens", loss=loss, settings=z_loss_of)
