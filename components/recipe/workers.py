"""Which ways of dividing a phase over workers fit together."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.recipe import TrainPhase

MICRO_SHARDS = 4
MOST_WORKERS = 1024


def wrong_division(phase: "TrainPhase") -> str | None:
    """What is wrong with how `phase` is divided over workers and micro-batches, or None."""
    if not _is_number_of_workers(phase.num_workers):
        return f"num_workers {phase.num_workers} is neither a number from 0 to {MOST_WORKERS} nor a range like [1, 4]"
    if phase.micro_batch_size is not None and phase.micro_batch_size > phase.batch_size:
        return f"micro_batch_size {phase.micro_batch_size} is more than batch_size {phase.batch_size}"
    if phase.parallel == "fsdp" and phase.adapter:
        return 'an adapter is too small to be sharded: leave parallel = "fsdp" out'
    if phase.parallel == "fsdp":
        return _not_sharded(phase)
    if phase.tensor_parallel > 1:
        return 'tensor_parallel is for parallel = "fsdp"'
    if phase.reproducible:
        return _not_reproducible(phase)
    if phase.micro_shards is not None:
        return "micro_shards is for reproducible = true"
    return None


def _not_reproducible(phase: "TrainPhase") -> str | None:
    shards, workers = phase.micro_shards or MICRO_SHARDS, phase.most_workers
    if not _is_power_of_two(shards):
        return f"micro_shards {shards} is no power of two"
    if shards > phase.batch_size:
        return f"micro_shards {shards} is more than batch_size {phase.batch_size}: some would be empty"
    if workers > shards:
        return f"num_workers {workers} is more than micro_shards {shards}: some would have nothing to do"
    if isinstance(phase.num_workers, int) and not _is_power_of_two(phase.num_workers):
        return f"num_workers {workers} is no power of two: with reproducible = true one would have nothing to do"
    if phase.micro_batch_size is not None:
        return "with reproducible = true the micro-batches are the micro_shards: leave micro_batch_size out"
    return None


def _not_sharded(phase: "TrainPhase") -> str | None:
    if phase.reproducible:
        return 'reproducible is for parallel = "replicated"'
    if phase.optimizer != "adamw":
        return f'optimizer {phase.optimizer} needs whole matrices: it is for parallel = "replicated"'
    if phase.objective in ("contrastive", "autoencoding"):
        return f'{phase.objective} is for parallel = "replicated"'
    fewest, most = phase.worker_range
    for workers in range(fewest, most + 1):
        data, left = divmod(workers, phase.tensor_parallel)
        if left:
            return f"tensor_parallel {phase.tensor_parallel} does not divide num_workers {workers}"
        if phase.batch_size % data:
            return f"batch_size {phase.batch_size} is no multiple of the {data} data workers, as fsdp needs it"
    return None


def _is_number_of_workers(given: int | tuple[int, int]) -> bool:
    if isinstance(given, int):
        return 0 <= given <= MOST_WORKERS
    fewest, most = given
    return 1 <= fewest <= most <= MOST_WORKERS


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
