"""A variational autoencoder of pictures (Kingma and Welling 2014; for latents, Rombach et al. 2022), without a discriminator."""

from typing import Any

import numpy as np
import torch
from torch import nn

from components.artifacts import Samples
from components.recipe import TrainPhase
from components.training.batch import Batch
from components.training.draws import Draws
from components.training.objectives.base import Loss, Objective
from components.training.objectives.contrastive import PIXELS

KL_WEIGHT = 2e-3
"""Of the divergence of a latent number from a standard normal one, against the error of a pixel: latents keep its scale."""


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The phase's seed."""
    return {"seed": phase.seed}


def loss(model: nn.Module, batch: Batch, *, seed: int) -> Loss:
    """The mean absolute error of a picture's numbers, and KL_WEIGHT times the mean divergence of its latents', summed.

    Metrics: the two, each by itself.
    """
    vae: Any = model.vae
    pixels = batch.tensors[PIXELS]
    posterior = vae.encode(pixels).latent_dist
    noise = [Draws("autoencoding", seed, i).normal(posterior.mean.shape[1:]) for i in batch.indices.tolist()]
    latents = posterior.mean + posterior.std * torch.from_numpy(np.stack(noise)).to(posterior.mean)
    errors = (vae.decode(latents).sample.float() - pixels).abs().flatten(1).mean(1)
    divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().flatten(1).mean(1)
    sums = {"pixel_error": errors.sum().detach(), "divergence": divergence.sum().detach()}
    return Loss((errors + KL_WEIGHT * divergence).sum(), batch.size, sums)


OBJECTIVE = Objective(kind="pairs", loss=loss, metrics=("pixel_error", "divergence"), settings=settings)
