"""Extraction: mark where the answer to a question begins and ends in a passage (Devlin et al. 2019, section 4.2)."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from components.training.batch import Batch
from components.training.objectives.base import Loss, Objective

ANSWERS = "answers"
"""The array of the first and the last place of each answer."""
NEVER = -1e9
"""The logit of what cannot be."""


def loss(model: nn.Module, batch: Batch) -> Loss:
    """The mean of the cross-entropies of both places, summed over questions, in nats; how often both are the likeliest.

    Every place of the row may be the one, the question's too, but no padding.
    """
    found = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    nothing = batch.attention_mask == 0
    places = torch.stack([found.start_logits, found.end_logits]).float().masked_fill(nothing, NEVER)
    wanted = batch.tensors[ANSWERS].T
    total = cross_entropy(places.flatten(0, 1), wanted.flatten(), reduction="sum") / len(places)
    right = (places.detach().argmax(-1) == wanted).all(0).sum()
    return Loss(total, batch.size, {"accuracy": right})


OBJECTIVE = Objective(kind="answers", loss=loss, metrics=("accuracy",))
