"""Sharded data parallelism (FSDP, Zhao et al. 2023) and tensor parallelism (Megatron, Shoeybi et al. 2019).

Weights, gradients and optimizer state lie in shards: over the data workers by `fully_shard`, which gathers one layer at a
time, and within a layer over the tensor workers, which compute each their part of its heads and of its MLP. Workers
are a mesh (data, tensor); neighbours share a layer, as they do on one machine. Each worker writes its shards of a
checkpoint, under the tensors' usual names and with their places, so it can be gone on from with any other division.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from components.recipe import TrainPhase
from components.training.adapters import trained
from components.training.checkpoint import Checkpoint
from components.training.group import BACKENDS, Group
from components.training.model import check_shapes
from components.training.objectives.base import Loss
from components.training.optimizers import BETAS, EPSILON
from components.training.parallel.base import Parallel, Sums, sums_of
from components.training.parallel.tensor import divide_layers
from components.training.pieces import Part, Place

MOMENTS = ("exp_avg", "exp_avg_sq")


class Sharded(Parallel):
    """AdamW over shards. Each data worker has as many samples of a batch, so that all gather and reduce in step."""

    def __init__(self, phase: TrainPhase, model: nn.Module, metrics: Sequence[str], group: Group) -> None:
        super().__init__(phase, model, metrics, group)
        group.share(*(parameter.detach() for parameter in model.parameters()))
        self.mesh = mesh_of(group, phase.tensor_parallel)
        data = self.mesh["data"]
        self.data = Group(data.get_local_rank(), data.size(), data.get_group(), group.device)
        self.frozen(model)
        self.shards = {name: Shard(parameter) for name, parameter in trained(model).items()}
        self.optimizer = adamw(list(self.shards.values()), phase)
        self.sums = torch.zeros(3 + len(metrics))
        self.num_parts = group.world_size

    def frozen(self, model: nn.Module) -> nn.Module:
        """Shard it in the same way."""
        shard(model, self.mesh)
        return model

    def begin(self) -> None:
        """Forget the gradients."""
        self.sums.zero_()
        self.model.zero_grad()

    def take(self, found: Loss, num_tokens: int) -> None:
        """Add the sums up; backward has reduced the gradients already."""
        self.sums.add_(self.numbers(found, num_tokens).cpu())

    def mean(self) -> Sums:
        """Divide the shards by the number of targets of all data workers."""
        for part in self.shards.values():
            part.take_gradient()
        self.data.add(self.sums)
        sums = sums_of(self.sums.tolist())
        self.scale(1 / max(1, sums.num_targets))
        return sums

    def norm(self) -> float:
        """The root of the squares of all shards; what several tensor workers hold counts once."""
        squares = [part.gradient.double().square().sum() / self._copies(part) for part in self.shards.values()]
        total = torch.stack(squares).sum()
        self.group.add(total)
        return float(total.sqrt())

    def scale(self, factor: float) -> None:
        """Multiply the shards."""
        for part in self.shards.values():
            part.gradient.mul_(factor)

    def part(self) -> Part:
        """This worker's shards, but for those that a worker before it has as well."""
        files: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optimizer": {}}
        places: dict[str, Place] = {}
        for name, part in self.shards.items():
            if not part.own.numel() or not self._is_first(part):
                continue
            files["model"][name] = part.own.detach()
            for moment in MOMENTS:
                files["optimizer"][f"{moment}.{name}"] = self.optimizer.state[part.own][moment]
            places |= dict.fromkeys([name, *(f"{moment}.{name}" for moment in MOMENTS)], part.place())
        return Part(files, places, self.group.rank, self.num_parts)

    def restore(self, found: Checkpoint | None, updates: int) -> None:
        """Each reads its own shards."""
        if found is None:
            return  # the first weights are shared already
        model, moments = found.pieces("model"), found.pieces("optimizer")
        check_shapes(self.model, model.shapes(), str(found.folder))
        for name, part in self.shards.items():
            state = self.optimizer.state[part.own]
            state["step"].fill_(updates)
            offset, shape = part.place().offset, part.own.shape
            with torch.no_grad():
                part.own.copy_(model.read(name, offset, shape))
            for moment in MOMENTS:
                state[moment].copy_(moments.read(f"{moment}.{name}", offset, shape))

    def _is_first(self, part: "Shard") -> bool:
        """Whether no worker before this one has the same shard."""
        mesh = part.parameter.device_mesh
        copied = [
            at
            for at, how in zip(mesh.get_coordinate() or (), part.parameter.placements, strict=True)
            if how.is_replicate()
        ]
        whole_mesh = mesh.ndim == self.mesh.ndim
        return not any(copied) and (whole_mesh or self.mesh["tensor"].get_local_rank() == 0)

    def _copies(self, part: "Shard") -> int:
        """On how many workers each element of a parameter lies."""
        return self.group.world_size // part.parameter.device_mesh.size()


class Shard:
    """This worker's part of one parameter. `own` shares its memory, for an optimizer that knows nothing of shards."""

    def __init__(self, parameter: nn.Parameter) -> None:
        assert isinstance(parameter, DTensor)
        self.parameter: DTensor = parameter
        self.own = nn.Parameter(self.parameter.detach().to_local())  # type: ignore[attr-defined]

    @property
    def gradient(self) -> torch.Tensor:
        """This worker's part of the gradient."""
        assert self.own.grad is not None
        return self.own.grad

    def take_gradient(self) -> None:
        """Take what backward has left; zero where it left nothing."""
        found = self.parameter.grad
        self.own.grad = found.to_local() if isinstance(found, DTensor) else torch.zeros_like(self.own)

    def place(self) -> Place:
        """Where it lies in the whole."""
        like = self.parameter
        _, offset = compute_local_shape_and_global_offset(like.shape, like.device_mesh, like.placements)
        return Place(tuple(offset), tuple(like.shape))


def adamw(shards: Sequence[Shard], phase: TrainPhase) -> torch.optim.AdamW:
    """AdamW over this worker's parts: matrices decay, vectors do not."""
    matrices = [part.own for part in shards if part.parameter.ndim >= 2]
    vectors = [part.own for part in shards if part.parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": phase.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=phase.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
    for own in matrices + vectors:
        moments = {moment: torch.zeros_like(own.detach()) for moment in MOMENTS}
        optimizer.state[own] = {"step": torch.zeros((), device=own.device), **moments}
    return optimizer


def mesh_of(group: Group, tensor_parallel: int) -> DeviceMesh:
    """The workers as (data, tensor); a process alone becomes a group of one."""
    if not distributed.is_initialized():
        backend = BACKENDS[group.device.type == "cuda"]
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    shape = (group.world_size // tensor_parallel, tensor_parallel)
    return init_device_mesh(group.device.type, shape, mesh_dim_names=("data", "tensor"))


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divide `model` over `mesh`, in place: each of its layers by itself, and the rest as one."""
    if mesh["tensor"].size() > 1:
        divide_layers(model, mesh["tensor"])
    for part in [*layers_of(model), model]:
        fully_shard(part, mesh=mesh["data"])
        assert isinstance(part, FSDPModule)
        part.set_gradient_divide_factor(1.0)  # sums over targets add up; means over workers do not
        part.set_force_sum_reduction_for_comms(True)  # the only reduction of gloo


def layers_of(model: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from layers_of(child)
