"""Where a phase would fit, how many devices it takes there, and what that costs."""

from typing import NamedTuple

from components.flops import SampleFlops
from components.planning.accelerators import Accelerator, Accelerators
from components.planning.architecture import Architecture
from components.planning.compute import attention_flops, partial_flops
from components.planning.memory import LOGIT_TOKENS, Memory, memory
from components.recipe.fields import Strict

ROOM = 0.95
"""The part of a device's memory that a plan fills."""
CONTEXT_BYTES = 3 * 2**29
"""What an accelerator holds before a model is there: driver context, libraries, collectives' buffers. An assumption."""
MOST_DEVICES = 2**16


class Work(NamedTuple):
    """A phase, as far as its cost goes."""

    shapes: Architecture
    tokens: float
    context: int
    precision: str
    adapter_rank: int | None = None
    checkpointing: bool = False
    counted: SampleFlops | None = None
    """FLOPs for a token, where they were counted, in place of formulas."""

    @property
    def trained(self) -> int:
        """Parameters with a gradient."""
        if self.adapter_rank is not None:
            return self.shapes.adapter_parameters(self.adapter_rank)
        return self.shapes.parameters - self.shapes.frozen_parameters

    @property
    def weight_flops(self) -> float:
        """Of the products with weights."""
        if self.counted:
            return self.counted.weights * self.tokens
        active = self.shapes.active_parameters
        if self.adapter_rank is not None:
            return partial_flops(active, self.trained, self.tokens)
        frozen = self.shapes.active_frozen_parameters
        return partial_flops(frozen, active - frozen, self.tokens)

    @property
    def attention_flops(self) -> float:
        """Of attention itself, under a causal mask where it goes by formula."""
        if self.counted:
            return self.counted.attention * self.tokens
        return attention_flops(self.shapes, self.tokens, self.context)

    @property
    def flops(self) -> float:
        """Of both."""
        return self.weight_flops + self.attention_flops

    def with_rank(self, adapter_rank: int | None) -> "Work":
        """The same with another adapter, or with none: frozen weights want no gradient, a third of what was counted."""
        if self.counted is None or (adapter_rank is None) == (self.adapter_rank is None):
            return self._replace(adapter_rank=adapter_rank)
        part = 3 / 2 if adapter_rank is None else 2 / 3
        changed = SampleFlops(self.counted.weights * part, self.counted.attention)
        return self._replace(adapter_rank=adapter_rank, counted=changed)


class Placement(Strict):
    """A phase on one kind of accelerator, with one sample at a time on each device."""

    accelerator: str
    precision: str
    adapter_rank: int | None
    """None trains all weights."""
    fits: bool
    """On one device."""
    devices: int | None
    """The least power of two that holds it with its state sharded over them; None where no number does."""
    memory: Memory
    """Of one of them."""
    hours: float | None
    """With that many devices."""
    device_hours: float
    energy_kwh: float
    money: float
    change: str
    """What brings it onto one device, or what to do as nothing does; empty where it fits."""


def placement(name: str, table: Accelerators, work: Work, starts_from_weights: bool) -> Placement:
    """The phase `work` on the accelerator called `name`."""
    row = table.accelerators[name]
    precision = row.precision(work.precision)
    devices = _least_devices(row, work)
    rate = row.peak[precision] * (table.utilisation if row.utilisation is None else row.utilisation)
    hours = work.flops / rate / 3600
    return Placement(
        accelerator=name,
        precision=precision,
        adapter_rank=work.adapter_rank,
        fits=devices == 1,
        devices=devices,
        memory=_memory(row, work, devices or MOST_DEVICES),
        hours=hours / devices if devices else None,
        device_hours=hours,
        energy_kwh=hours * row.watts / 1000,
        money=hours * row.price_per_hour,
        change="" if devices == 1 else _change(row, work, devices, starts_from_weights),
    )


def _least_devices(row: Accelerator, work: Work) -> int | None:
    devices = 1
    while devices <= MOST_DEVICES:
        if _memory(row, work, devices).total <= ROOM * row.memory_bytes:
            return devices
        devices *= 2
    return None


def _memory(row: Accelerator, work: Work, devices: int) -> Memory:
    return memory(
        work.shapes,
        work.context,
        process=CONTEXT_BYTES,
        precision=row.precision(work.precision),
        adapter_rank=work.adapter_rank,
        checkpointing=work.checkpointing,
        logit_tokens=LOGIT_TOKENS,
        devices=devices,
    )


def _change(row: Accelerator, work: Work, devices: int | None, starts_from_weights: bool) -> str:
    """The least change after which one device is enough; else how many are, or that the context is too long."""
    checkpointed = {"activation_checkpointing = true": work._replace(checkpointing=True)}
    adapted = {"an adapter (LoRA)": work.with_rank(16)}
    both = {" and ".join([*checkpointed, *adapted]): work._replace(checkpointing=True).with_rank(16)}
    choices = checkpointed | (adapted | both if starts_from_weights and work.adapter_rank is None else {})
    for words, changed in choices.items():
        if _least_devices(row, changed) == 1:
            return f"{words} fits it on one"
    if devices:
        return f"its state sharded over {devices}"
    for words, changed in choices.items():
        if found := _least_devices(row, changed):
            return f"{words} fits it on {found}"
    return f"a context below {work.context}: one sample's activations alone do not fit"
