"""The workers of a phase, as one of them sees them."""

from dataclasses import dataclass

import torch
from torch import distributed

CPU = torch.device("cpu")
BACKENDS = {False: "gloo", True: "cpu:gloo,cuda:nccl"}
"""What exchanges vectors, by whether a GPU computes: by where they lie; a torch for CPUs has no NCCL."""


@dataclass(frozen=True)
class Group:
    """This worker's rank and the number of workers, with the exchanges that training needs."""

    rank: int
    world_size: int
    processes: distributed.ProcessGroup | None = None
    """Those of torch.distributed; all, if left out."""
    device: torch.device = CPU
    """Where this worker computes. Vectors of either kind can be exchanged."""

    @classmethod
    def current(cls, device: torch.device = CPU) -> "Group":
        """The process group of torch.distributed, or this process alone."""
        if distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size(), device=device)
        return cls(0, 1, device=device)

    def add(self, vector: torch.Tensor) -> None:
        """Sum `vector` over the workers, in place; all get the same bits."""
        if self.world_size > 1:
            distributed.all_reduce(vector, group=self.processes)

    def meet(self) -> None:
        """Wait until everyone is here."""
        self.add(torch.zeros(1, device=self.device))

    def add_as_tree(self, vector: torch.Tensor, leaves: int) -> None:
        """Sum `vector` over the first `leaves` workers, in place, as a balanced binary tree; all get the same bits.

        Recursive doubling: in each round everyone adds what the partner at twice the distance has. Both add the same
        two numbers, and addition is commutative, so both have the bits of that node of the tree. `leaves` is a power of
        two and more than half of the workers; the others receive.
        """
        distance = 1
        while distance < leaves:
            if self.rank < leaves:
                vector.add_(self._exchanged(vector, self.rank ^ distance))
            distance *= 2
        if self.rank >= leaves:
            distributed.recv(vector, src=self.rank - leaves)
        elif self.rank + leaves < self.world_size:
            distributed.send(vector, dst=self.rank + leaves)

    def share(self, *vectors: torch.Tensor) -> None:
        """Give everyone rank 0's values, in place."""
        if self.world_size > 1:
            for vector in vectors:
                distributed.broadcast(vector, group=self.processes, group_src=0)

    def agreed(self, flag: bool) -> bool:
        """What rank 0 says."""
        said = torch.tensor(flag)
        self.share(said)
        return bool(said)

    def leave(self) -> None:
        """Close the connections: whoever waits for this worker gets a RuntimeError."""
        distributed.destroy_process_group()

    @staticmethod
    def _exchanged(vector: torch.Tensor, partner: int) -> torch.Tensor:
        """What `partner` has, for `vector`."""
        theirs = torch.empty_like(vector)
        exchange = [
            distributed.P2POp(distributed.isend, vector, partner),
            distributed.P2POp(distributed.irecv, theirs, partner),
        ]
        for request in distributed.batch_isend_irecv(exchange):
            request.wait()
        return theirs
