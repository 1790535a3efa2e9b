"""Classification: tell which label a text has (Devlin et al. 2019, section 3.2)."""

from torch import nn
from torch.nn.functional import cross_entropy

from components.training.batch import Batch
from components.training.objectives.base import Loss, Objective

LABELS = "labels"
"""The array of the labels' numbers."""


def loss(model: nn.Module, batch: Batch) -> Loss:
    """Cross-entropy of each text's label, summed, in nats, and how many of them were the likeliest label."""
    wanted = batch.tensors[LABELS]
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()
    right = (logits.detach().argmax(-1) == wanted).sum()
    return Loss(cross_entropy(logits, wanted, reduction="sum"), batch.size, {"accuracy": right})


OBJECTIVE = Objective(kind="labelled", loss=loss, metrics=("accuracy",))
