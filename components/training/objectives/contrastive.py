"""Contrastive learning of images and texts (Radford et al. 2021, "CLIP"): find each one's partner in the batch.

The loss couples all samples of a batch, so it is no sum over micro-batches. It is computed as GradCache (Gao et al.
2021) does: embed every micro-batch without a graph, take the loss and its gradient for the embeddings of the whole
batch, then embed each micro-batch again and carry its part of that gradient back. Memory is that of one micro-batch,
and the gradient is that of the whole batch, whatever its division over micro-batches and workers.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from components.errors import TrainingError
from components.training.batch import Batch
from components.training.group import Group
from components.training.objectives.base import Loss, Objective

MAX_SCALE = math.log(100)
"""The logits are scaled by at most 100, as in the paper; the model holds the logarithm."""


def loss(model: nn.Module, batch: Batch) -> Loss:
    """The loss of `batch` by itself, summed over its pairs."""
    images, texts = embed(model, batch)
    return matching(images, texts, model.logit_scale)  # type: ignore[arg-type]


def embed(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and texts as vectors of length 1, each (size, width)."""
    found = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **batch.tensors)
    return found.image_embeds, found.text_embeds


def matching(images: torch.Tensor, texts: torch.Tensor, log_scale: torch.Tensor) -> Loss:
    """Half the cross-entropy of the right text for each image and half that of the right image for each text, summed.

    `images` and `texts` are (pairs, width), partners at the same place. The metric is how many images find their text.
    """
    logits = log_scale.exp() * images @ texts.T
    partners = torch.arange(len(logits), device=logits.device)
    both = cross_entropy(logits, partners, reduction="sum") + cross_entropy(logits.T, partners, reduction="sum")
    return Loss(both / 2, len(logits), {"accuracy": (logits.detach().argmax(-1) == partners).sum()})


def accumulate(model: nn.Module, micro_batches: Sequence[Batch], group: Group) -> Loss:
    """Add this worker's part of the whole batch's gradient to the parameters' `grad`; see `Objective.backward`.

    Rank 0 alone counts the sums and the gradient of the scale. Embedding twice must give the same, so the model has no
    dropout. Raises TrainingError, on every worker, where one has no pairs.
    """
    scale: nn.Parameter = model.logit_scale  # type: ignore[assignment]
    with torch.no_grad():
        scale.clamp_(max=MAX_SCALE)
    graphs = [embed(model, batch) for batch in micro_batches] if len(micro_batches) == 1 else None
    with torch.no_grad():
        parts = graphs or [embed(model, batch) for batch in micro_batches]
        own = [torch.cat(side).detach() for side in zip(*parts, strict=True)]
    place, (images, texts) = _gathered(own, group)
    found = matching(images.requires_grad_(), texts.requires_grad_(), scale if group.rank == 0 else scale.detach())
    found.loss_sum.backward()
    sizes = [batch.size for batch in micro_batches]
    gradients = zip(*(side.grad[place].split(sizes) for side in (images, texts)), strict=True)  # type: ignore[index]
    for number, (batch, gradient) in enumerate(zip(micro_batches, gradients, strict=True)):
        torch.autograd.backward(graphs[number] if graphs else embed(model, batch), gradient)
    counted = found.detached()
    if group.rank == 0:
        return counted
    return Loss(torch.zeros(()), 0, {name: torch.zeros(()) for name in counted.metric_sums})


def _gathered(own: list[torch.Tensor], group: Group) -> tuple[slice, list[torch.Tensor]]:
    """The rows of all workers in the order of their ranks, for each tensor of `own`, and where this worker's are."""
    counts = torch.zeros(group.world_size)
    counts[group.rank] = len(own[0]) if own else 0
    group.add(counts)
    if not counts.all():
        raise TrainingError(
            f"contrastive: {group.world_size} workers need a batch_size of at least {group.world_size}."
        )
    ends = counts.long().cumsum(0).tolist()
    place = slice(ends[group.rank] - len(own[0]), ends[group.rank])
    everyone = []
    for tensor in own:
        rows = tensor.new_zeros((ends[-1], *tensor.shape[1:]))
        rows[place] = tensor
        group.add(rows)  # each place is zero on all workers but one, so the sum is exact
        everyone.append(rows)
    return place, everyone


OBJECTIVE = Objective(kind="pairs", loss=loss, metrics=("accuracy",), accumulate=accumulate)
