"""Contrastive learning of images and texts (Radford et al. 2021, "CLIP"): find each one's partner in the batch.

The loss couples all samples of a batch, so it is no sum over micro-batches. It is computed as GradCache (Gao et al.
2021) does: embed every micro-batch without a graph, take the loss and its gradient for the embeddings of the whole
batch, then embed each micro-batch again and carry its part of that gradient back. Memory is that of one micro-batch,
and the gradient is that of the whole batch, whatever its division over micro-batches and workers.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from components.artifacts import Samples
from components.recipe import TrainPhase
from components.training.batch import Batch
from components.training.draws import Draws
from components.training.group import Group
from components.training.objectives.base import Loss, Objective

PIXELS = "pixel_values"
"""The array of images."""
MAX_SCALE = math.log(100)
"""The logits are scaled by at most 100, as in the paper; the model holds the logarithm."""


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """How far images are moved, and the seed that says where to."""
    return {"shift": phase.shift_pixels, "seed": phase.seed} if phase.shift_pixels else {}


def loss(model: nn.Module, batch: Batch, *, shift: int = 0, seed: int = 0) -> Loss:
    """The loss of `batch` by itself, summed over its pairs."""
    images, texts = embed(model, moved(batch, shift, seed))
    return matching(images, texts, model.logit_scale)  # type: ignore[arg-type]


def moved(batch: Batch, shift: int, seed: int) -> Batch:
    """`batch` with each image moved by up to `shift` pixels to all sides, its edge repeated where it has left.

    Where to follows from the seed and the sample's global index: anew each time that it is seen.
    """
    if not shift:
        return batch
    pixels = batch.tensors[PIXELS]
    size, wide = pixels.shape[-1], pad(pixels, (shift,) * 4, mode="replicate")
    places = [Draws("shift", seed, index).below(2 * shift + 1, 2).tolist() for index in batch.indices.tolist()]
    cut = [image[:, y : y + size, x : x + size] for image, (y, x) in zip(wide, places, strict=True)]
    return replace(batch, tensors={**batch.tensors, PIXELS: torch.stack(cut)})


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


def accumulate(
    model: nn.Module, micro_batches: Sequence[Batch], group: Group, *, shift: int = 0, seed: int = 0
) -> Iterator[Loss]:
    """Add this worker's part of the whole batch's gradient to the parameters' `grad`; see `Objective.backward`.

    The sums of the batch and the gradient of the scale are counted with the very first micro-batch alone. Embedding
    twice must give the same, so the model has no dropout.
    """
    micro_batches = [moved(batch, shift, seed) for batch in micro_batches]
    scale: nn.Parameter = model.logit_scale  # type: ignore[assignment]
    with torch.no_grad():
        scale.clamp_(max=MAX_SCALE)
    graphs = [embed(model, batch) for batch in micro_batches] if len(micro_batches) == 1 else None
    with torch.no_grad():
        parts = graphs or [embed(model, batch) for batch in micro_batches]
        own = [torch.cat(side).detach() for side in zip(*parts, strict=True)]
    place, (images, texts) = _gathered(own, group)
    if not micro_batches:
        return
    has_first = place.start == 0
    found = matching(images.requires_grad_(), texts.requires_grad_(), scale if has_first else scale.detach())
    found.loss_sum.backward()
    counted = found.detached()
    nothing = Loss(torch.zeros(()), 0, {name: torch.zeros(()) for name in counted.metric_sums})
    sizes = [batch.size for batch in micro_batches]
    gradients = zip(*(side.grad[place].split(sizes) for side in (images, texts)), strict=True)  # type: ignore[index]
    for number, (batch, gradient) in enumerate(zip(micro_batches, gradients, strict=True)):
        torch.autograd.backward(graphs[number] if graphs else embed(model, batch), gradient)
        yield counted if has_first and number == 0 else nothing


def _gathered(own: list[torch.Tensor], group: Group) -> tuple[slice, list[torch.Tensor]]:
    """The rows of all workers in the order of their ranks, for both tensors of `own`, and where this worker's are.

    A worker without any micro-batch has nothing in `own`, and takes part all the same.
    """
    shapes = torch.zeros(2, group.world_size)  # exchanged on the CPU, where the numbers are wanted
    if own:
        shapes[:, group.rank] = torch.tensor(own[0].shape)
    group.add(shapes)
    ends, width = shapes[0].long().cumsum(0).tolist(), int(shapes[1].max())
    place = slice(ends[group.rank] - int(shapes[0, group.rank]), ends[group.rank])
    everyone = []
    for tensor in own or [torch.zeros(0, width, device=group.device)] * 2:
        rows = tensor.new_zeros((ends[-1], width))
        rows[place] = tensor
        group.add(rows)  # each place is zero on all workers but one, so the sum is exact
        everyone.append(rows)
    return place, everyone


OBJECTIVE = Objective(kind="pairs", loss=loss, metrics=("accuracy",), settings=settings, accumulate=accumulate)
