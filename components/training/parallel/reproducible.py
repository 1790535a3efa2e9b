"""Data parallelism whose bits do not depend on the number of workers.

Addition of floats is not associative, so the order counts. Here a batch is cut into a fixed number 2^k of contiguous
micro-shards, whose gradients are added in one fixed balanced binary tree. A worker has 2^j neighbouring micro-shards,
which is a whole subtree, and the workers' subtrees are the leaves of the rest of the same tree (`Group.add_as_tree`).
"""

from components.recipe.workers import MICRO_SHARDS
from components.training.batch import Batch
from components.training.loader import Loader
from components.training.objectives.base import Loss
from components.training.parallel.replicated import Replicated
from components.training.tree import TreeSum, leaves, shards_of


class Reproducible(Replicated):
    """Micro-shards in place of micro-batches, a tree in place of the all-reduce."""

    @property
    def micro_shards(self) -> int:
        """Parts of a batch."""
        return self.phase.micro_shards or MICRO_SHARDS

    def micro_batches(self, loader: Loader, step: int) -> list[Batch]:
        """This worker's micro-shards; none for a worker that is left over."""
        mine = shards_of(self.group.rank, self.group.world_size, self.micro_shards)
        return [loader.batch(step, rank=shard, world_size=self.micro_shards) for shard in mine]

    def begin(self) -> None:
        """Zero the vector and start another tree."""
        super().begin()
        self._tree = TreeSum()

    def take(self, found: Loss, num_tokens: int) -> None:
        """The vector of a micro-shard is a leaf; the next one starts from zero."""
        super().take(found, num_tokens)
        self._tree.add(self.flat.reduced)
        self.flat.reduced.zero_()

    def add_up(self) -> None:
        """This worker's subtree, then the tree of the workers."""
        if (total := self._tree.total()) is not None:
            self.flat.reduced.copy_(total)
        self.group.add_as_tree(self.flat.reduced, leaves(self.group.world_size, self.micro_shards))
