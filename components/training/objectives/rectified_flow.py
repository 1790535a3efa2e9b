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
from components.training.objectives.contrastive import PIXELS


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The phase's seed."""
    return {"seed": phase.seed}


def loss(model: nn.Module, batch: Batch, *, seed: int) -> Loss:
    """The squared error of the velocity, averaged over the numbers of a latent and summed over pictures.

    On the straight path z = (1 - t) x + t e from a latent x to noise e, the velocity is e - x. Times have a
    logit-normal density (mean 0, deviation 1), which is all the weighting there is.
    """
    pixels = batch.tensors[PIXELS]
    noise, times = (drawn.to(pixels) for drawn in drawn_of(batch, seed, model.latent_shape))  # type: ignore[arg-type]
    velocity, latents = model(pixel_values=pixels, input_ids=batch.input_ids, noise=noise, times=times)
    errors = mse_loss(velocity.float(), noise - latents, reduction="none").flatten(1).mean(1)
    return Loss(errors.sum(), batch.size)


def drawn_of(batch: Batch, seed: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise (size, *shape) and the time (size,) in (0, 1) of each sample, float64."""
    noises, times = [], []
    for index in batch.indices.tolist():
        draws = Draws("rectified_flow", seed, index)
        times.append(1 / (1 + np.exp(-draws.normal(1)[0])))
        noises.append(draws.normal(shape))
    return torch.from_numpy(np.stack(noises)), torch.tensor(times, dtype=torch.float64)


OBJECTIVE = Objective(kind="pairs", loss=loss, settings=settings)
