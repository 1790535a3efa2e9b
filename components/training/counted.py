"""Floating-point operations of a phase that learns from pictures, counted: most of a picture's networks read more than tokens.

torch's own counter watches the phase's loss and its gradient on the meta device, where nothing is computed.
"""

from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from components.artifacts import Samples
from components.flops import SampleFlops
from components.models import family
from components.models.base import active_parameters
from components.recipe import Recipe, TrainPhase
from components.training.adapters import adapted
from components.training.batch import IGNORED, Batch
from components.training.checkpoint import State
from components.training.config import Job
from components.training.model import fresh_model, frozen
from components.training.objectives import objective
from components.training.objectives.contrastive import PIXELS

ATTENTION = ("bmm", "baddbmm", "_scaled_dot_product")
"""Products of activations with each other; all others are with weights."""
SIZE = 2
"""Samples that are counted at once."""


class _Unpadded(Batch):
    """A batch of which nobody need ask where its texts end: on the meta device there would be no answer."""

    attention_mask = None  # type: ignore[assignment]


def counted_flops(recipe: Recipe) -> dict[str, SampleFlops]:
    """What one sample takes, of each phase of `recipe` that learns from pictures with captions, by its name."""
    if recipe.images is None or recipe.size is None:
        return {}
    size, context, found = recipe.images.size, recipe.prepare.context, {}
    for phase in filter(_learns_from_pictures, recipe.train):
        with torch.device("meta"):
            model = family(recipe.family).build(recipe.size, image_size=size, context=context)
        found[phase.name] = sample_flops(model, phase, size, context)
    return found


def spent_flops(job: Job, model: nn.Module, num_trained: int, state: State) -> float:
    """Products with weights of the phase as far as `state`: as counted for pictures, else 6 for a weight, 4 for a frozen one.

    `model` is the exported one, an adapter's `num_trained` weights merged into it.
    """
    phase, active = job.config.phase, active_parameters(model)
    if _learns_from_pictures(phase):
        described = job.samples.json("samples.json")
        with torch.device("meta"):
            fresh = fresh_model(job.config, job.samples, job.init)
        each = sample_flops(fresh, phase, described["image_size"], described["context"]).weights
        return each * state.step * phase.batch_size
    if phase.adapter:
        return float((4 * active + 6 * num_trained) * state.tokens)
    frozen = active_parameters(model, {name for name, weight in model.named_parameters() if not weight.requires_grad})
    return float((6 * active - 2 * frozen) * state.tokens)


def _learns_from_pictures(phase: TrainPhase) -> bool:
    return objective(phase.objective).kind == "pairs"


def sample_flops(model: nn.Module, phase: TrainPhase, image_size: int, context: int) -> SampleFlops:
    """What one sample of `phase` takes, forward and backward, of `model`, which is on the meta device.

    The phase learns from pairs of a picture and a text. Raises TrainingError as training would.
    """
    learnt = objective(phase.objective)
    frozen(adapted(model, phase), phase.freeze)
    # What these objectives are set to is the phase's alone; they ask nothing of the samples.
    given = learnt.settings(phase, Samples(Path()))
    with FlopCounterMode(display=False) as counter:
        learnt.loss(model, _batch(image_size, context), **given).loss_sum.backward()
    counts = {str(name).removeprefix("aten."): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    attention = sum(flops for name, flops in counts.items() if name.startswith(ATTENTION))
    return SampleFlops((sum(counts.values()) - attention) / SIZE, attention / SIZE)


def _batch(image_size: int, context: int) -> Batch:
    tokens = torch.zeros(SIZE, context, dtype=torch.int64, device="meta")
    pixels = torch.zeros(SIZE, 3, image_size, image_size, device="meta")
    lengths = torch.full((SIZE,), context, device="meta")
    return _Unpadded(
        tokens, torch.full_like(tokens, IGNORED), SIZE * context, torch.arange(SIZE), lengths, None, {PIXELS: pixels}
    )
