"""Direct preference optimisation (Rafailov et al. 2023): make chosen answers likelier than rejected ones."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from components.artifacts import Samples
from components.recipe import TrainPhase
from components.training.batch import Batch
from components.training.label_logs import label_logs
from components.training.objectives.base import Loss, Objective


def settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The phase's beta."""
    return {"beta": phase.beta}


def loss(model: nn.Module, batch: Batch, reference: nn.Module, *, beta: float) -> Loss:
    """-log sigmoid of the rewards' difference, summed over the pairs.

    The reward of an answer is beta times the log-ratio of its probability (summed over its tokens) under `model` and
    under `reference`. Metrics: how often the chosen answer has the larger reward, by how much, and both rewards.
    """
    rewards = beta * (_logs(model, batch) - _reference_logs(reference, batch))
    chosen, rejected = rewards.chunk(2)
    difference = chosen - rejected
    metrics = {
        "accuracy": (difference > 0).sum(),
        "margin": difference.sum(),
        "chosen_reward": chosen.sum(),
        "rejected_reward": rejected.sum(),
    }
    sums = {name: value.detach() for name, value in metrics.items()}
    return Loss(-logsigmoid(difference).sum(), batch.size, sums)


def _logs(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The log-probability of each row's answer, (rows,) in nats."""
    return label_logs(model, batch.labels, input_ids=batch.input_ids, use_cache=False).sum(-1)


@torch.no_grad()
def _reference_logs(reference: nn.Module, batch: Batch) -> torch.Tensor:
    return _logs(reference, batch)


OBJECTIVE = Objective(
    kind="preferences",
    loss=loss,
    metrics=("accuracy", "margin", "chosen_reward", "rejected_reward"),
    needs_reference=True,
    settings=settings,
)
