"""The workers of a phase, as one of them sees them."""

from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Group:
    """This worker's rank and the number of workers, with the two exchanges that training needs."""

    rank: int
    world_size: int

    @classmethod
    def current(cls) -> "Group":
        """The process group of torch.distributed, or this process alone."""
        if distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls(0, 1)

    def add(self, vector: torch.Tensor) -> None:
        """Sum `vector` over the workers, in place; all get the same bits."""
        if self.world_size > 1:
            distributed.all_reduce(vector)

    def share(self, *vectors: torch.Tensor) -> None:
        """Give everyone rank 0's values, in place."""
        if self.world_size > 1:
            for vector in vectors:
                distributed.broadcast(vector, src=0)

    def leave(self) -> None:
        """Close the connections: whoever waits for this worker gets a RuntimeError."""
        distributed.destroy_process_group()
