"""A model's parameters, gradients and optimizer state as four flat vectors.

One vector is one all-reduce, one norm and one optimizer step, in an order that never changes: for a given number of
workers the same batches give the same bits.
"""

from dataclasses import dataclass

import torch
from torch import nn

ALIGNMENT = 16
"""Each parameter starts at a multiple of so many floats (64 bytes), as the matrix kernels like it."""


@dataclass
class Sums:
    """What is summed over the workers beside the gradients."""

    loss: float
    num_targets: int
    num_tokens: int
    metrics: list[float]


class FlatModel:
    """Parameters that have gradients as views of `values`, their gradients as views of the first part of `reduced`.

    Matrices, which decay, come first; vectors (norms) follow. The tail of `reduced` carries the sums, so that one
    all-reduce moves everything. All vectors are fp32.
    """

    def __init__(self, model: nn.Module, *, num_metrics: int) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [p for p in parameters if p.ndim >= 2]
        vectors = [p for p in parameters if p.ndim < 2]
        self.num_decayed = sum(_padded(p) for p in matrices)
        self.size = self.num_decayed + sum(_padded(p) for p in vectors)
        self.values = torch.zeros(self.size)
        self.reduced = torch.zeros(self.size + 3 + num_metrics)
        self.exp_avg, self.exp_avg_sq = torch.zeros(self.size), torch.zeros(self.size)
        start = 0
        for parameter in matrices + vectors:
            place = slice(start, start + parameter.numel())
            self.values[place] = parameter.data.flatten()
            parameter.data = self.values[place].view_as(parameter)
            parameter.grad = self.reduced[place].view_as(parameter)
            start += _padded(parameter)

    @property
    def gradients(self) -> torch.Tensor:
        """All gradients, (size,)."""
        return self.reduced[: self.size]

    def put_sums(self, loss: torch.Tensor, num_targets: int, num_tokens: int, metrics: list[torch.Tensor]) -> None:
        """Write this worker's sums into the tail that is reduced with the gradients."""
        numbers = [loss.detach().item(), num_targets, num_tokens, *(m.item() for m in metrics)]
        self.reduced[self.size :] = torch.tensor(numbers, dtype=torch.float32)

    def sums(self) -> Sums:
        """The sums in the tail."""
        loss, num_targets, num_tokens, *metrics = self.reduced[self.size :].tolist()
        return Sums(loss, int(num_targets), int(num_tokens), metrics)


def _padded(parameter: nn.Parameter) -> int:
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
