"""Which ways of dividing a phase over workers fit together."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.recipe import TrainPhase

MICRO_SHARDS = 4


def wrong_division(phase: "TrainPhase") -> str | None:
    """What is wrong with how `phase` is divided over workers and micro-batches, or None."""
    if phase.micro_batch_size is not None and phase.micro_batch_size > phase.batch_size:
        return f"micro_batch_size {phase.micro_batch_size} is more than batch_size {phase.batch_size}"
    if phase.reproducible:
        return _not_reproducible(phase)
    if phase.micro_shards is not None:
        return "micro_shards is for reproducible = true"
    return None


def _not_reproducible(phase: "TrainPhase") -> str | None:
    shards = phase.micro_shards or MICRO_SHARDS
    if not _is_power_of_two(shards):
        return f"micro_shards {shards} is no power of two"
    if shards > phase.batch_size:
        return f"micro_shards {shards} is more than batch_size {phase.batch_size}: some would be empty"
    if phase.num_workers > shards:
        return f"num_workers {phase.num_workers} is more than micro_shards {shards}: some would have nothing to do"
    if phase.num_workers and not _is_power_of_two(phase.num_workers):
        return f"num_workers {phase.num_workers} is no power of two: with reproducible = true one would have nothing to do"
    if phase.micro_batch_size is not None:
        return "with reproducible = true the micro-batches are the micro_shards: leave micro_batch_size out"
    return None


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
