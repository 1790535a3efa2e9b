"""A model's parameters, gradients and optimizer state as four flat vectors.

One vector is one sum over the workers, one norm and one optimizer step, in an order that never changes: for a given number of
workers the same batches give the same bits.
"""

from dataclasses import replace

import torch
from torch import nn

from components.training.adapters import trained
from components.training.group import Group
from components.training.summed import SummedVector

ALONE = Group(0, 1)
ALIGNMENT = 16
"""Each parameter starts at a multiple of so many floats (64 bytes), as the matrix kernels like it."""


class FlatModel:
    """Parameters that have gradients as views of `values`, their gradients as views of the first part of `reduced`.

    Matrices, which decay, come first; vectors (norms) follow. The tail of `reduced` carries the sums, so that one
    sum over the workers moves everything. All vectors are fp32.
    """

    def __init__(self, model: nn.Module, *, num_sums: int, group: Group = ALONE) -> None:
        self._named = trained(model)
        matrices = [p for p in self._named.values() if p.ndim >= 2]
        vectors = [p for p in self._named.values() if p.ndim < 2]
        self.num_decayed = sum(_padded(p) for p in matrices)
        self.size = self.num_decayed + sum(_padded(p) for p in vectors)
        device = next(iter(self._named.values())).device
        self.values = torch.zeros(self.size, device=device)
        self.summed = SummedVector(self.size + num_sums, replace(group, device=device))
        self.reduced = self.summed.values
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(self.values), torch.zeros_like(self.values)
        start = 0
        for parameter in matrices + vectors:
            here = slice(start, start + parameter.numel())
            self.values[here] = parameter.data.flatten()
            parameter.data = self.values[here].view_as(parameter)
            parameter.grad = self.reduced[here].view_as(parameter)
            start += _padded(parameter)

    @property
    def gradients(self) -> torch.Tensor:
        """All gradients, (size,)."""
        return self.reduced[: self.size]

    @property
    def sums(self) -> torch.Tensor:
        """The tail, (num_sums,)."""
        return self.reduced[self.size :]

    def moments(self) -> dict[str, torch.Tensor]:
        """Both moments of each parameter, in its shape: views, by "exp_avg.NAME" and "exp_avg_sq.NAME"."""
        vectors = {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}
        return {
            f"{moment}.{name}": vector[place(parameter)].view_as(parameter)
            for moment, vector in vectors.items()
            for name, parameter in self._named.items()
        }


def place(parameter: nn.Parameter) -> slice:
    """Where a parameter lies in the flat vectors."""
    start = parameter.storage_offset()
    return slice(start, start + parameter.numel())


def _padded(parameter: nn.Parameter) -> int:
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
