"""Rectified flow on latents (Liu et al. 2022; as in Stable Diffusion 3, Esser et al. 2024)."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from components.artifacts import Samples
from components.recipe import TrainPhase
from components.training.batch import Batch
from components.training.draws import Draws
from components.training.objectives.base import Loss, Objective

LATENTS = "latents"
"""The array that is learnt; the others go to the model under their own names."""
TIMESTEPS = 1000
"""The model is told the time in thousandths."""


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The phase's seed."""
    return {"seed": phase.seed}


def loss(model: nn.Module, batch: Batch, *, seed: int) -> Loss:
    """The squared error of the velocity, averaged over the elements of a latent and summed over latents.

    On the straight path z = (1 - t) x + t e from a latent x to noise e, the velocity is e - x. Times have a
    logit-normal density (mean 0, deviation 1), which is all the weighting there is.
    """
    conditions = dict(batch.tensors)
    latents = conditions.pop(LATENTS)
    noise, times = drawn(batch, seed, latents.shape[1:])
    noise, times = noise.to(latents), times.to(latents)
    t = times.view(-1, *[1] * (latents.ndim - 1))
    velocity = model(
        hidden_states=(1 - t) * latents + t * noise, timestep=times * TIMESTEPS, return_dict=False, **conditions
    )[0]
    errors = mse_loss(velocity.float(), noise - latents, reduction="none").flatten(1).mean(1)
    return Loss(errors.sum(), batch.size)


def drawn(batch: Batch, seed: int, shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise (size, *shape) and the time (size,) in (0, 1) of each sample, float64."""
    noises, times = [], []
    for index in batch.indices.tolist():
        draws = Draws("rectified_flow", seed, index)
        times.append(1 / (1 + np.exp(-draws.normal(1)[0])))
        noises.append(draws.normal(tuple(shape)))
    return torch.from_numpy(np.stack(noises)), torch.tensor(times, dtype=torch.float64)


OBJECTIVE = Objective(kind="latents", loss=loss, settings=settings)
