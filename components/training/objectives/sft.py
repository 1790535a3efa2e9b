"""Supervised fine-tuning: predict the answers of chats, and only those (Ouyang et al. 2022)."""

from dataclasses import replace

from torch import nn

from components.training.batch import Batch
from components.training.objectives.base import Loss, Objective, next_token_loss, z_loss_of


def loss(model: nn.Module, batch: Batch, *, z_loss: float = 0.0) -> Loss:
    """Cross-entropy summed over the answers' tokens, in nats, and how many of them were the likeliest token."""
    found, correct = next_token_loss(model, batch, z_loss)
    return replace(found, metric_sums={"accuracy": correct})


OBJECTIVE = Objective(kind="chats", loss=loss, metrics=("accuracy",), settings=z_loss_of)
