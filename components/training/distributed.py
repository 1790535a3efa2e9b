"""Where the workers of a phase run: in this process, or on Ray Train. Nothing else imports ray.train."""

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.errors import ServiceError, TrainingError
from components.recipe import TrainPhase
from components.training.config import Job

if TYPE_CHECKING:
    import torch

MAX_FAILURES = 3
"""Lost workers are replaced so many times without a new checkpoint; each attempt resumes from ours, never from Ray's."""

RESIZE_SECONDS = 60.0
"""How often an elastic phase looks for room for more workers; a lost one is missed at once."""
STALL_SECONDS = 900
"""A worker that says nothing for so long (its input stalls, its machine hangs) counts as lost."""


def run_workers(job: Job) -> None:
    """Train to the last checkpoint with the workers that the phase asks for. Raises TrainingError."""
    phase = job.config.phase
    if phase.num_workers == 0:
        _work(job.as_json())
        return
    with _connected(phase.most_workers):
        _check_room(phase)
        _fit(job)


def _work(job: dict[str, Any]) -> None:
    """What each worker does.

    An error that another attempt would only meet again is left in the progress file, and all workers end: the one that
    met it leaves the group, at which the others' exchanges fail.
    """
    from components.training.arithmetic import exact_arithmetic
    from components.training.group import Group
    from components.training.loop import Loop
    from components.training.pages import keep_pages
    from components.training.progress import ProgressWriter, error_since

    keep_pages()
    this = Job.from_json(job)
    group = Group.current(_device(this.config.phase))
    begun = this.progress.stat().st_size if this.progress.exists() else 0
    try:
        with exact_arithmetic(this.config.phase.threads):
            Loop(this, group).run()
    except TrainingError as error:
        if group.world_size == 1:
            raise
        ProgressWriter(this.progress).write({"error": str(error)})
        group.leave()
    except RuntimeError:
        if not error_since(this.progress, begun):
            raise


def _device(phase: TrainPhase) -> "torch.device":
    """Where this worker computes. Raises TrainingError where there is no GPU for it."""
    import torch

    if not phase.use_gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainingError(f"Phase {phase.name}: use_gpu is set, and torch sees no GPU here. Leave it out.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it products have no fixed order
    if phase.num_workers == 0:
        return torch.device("cuda", 0)
    from ray.train.torch import get_device

    found = get_device()
    assert isinstance(found, torch.device)
    return found


def _needs(phase: TrainPhase) -> dict[str, int]:
    """What each worker has of its machine."""
    return {"CPU": 1, "GPU": 1} if phase.use_gpu else {"CPU": 1}


def _check_room(phase: TrainPhase) -> None:
    """Refuse what Ray would wait for without end. Raises TrainingError."""
    import ray

    fewest, _ = phase.worker_range
    for what, each in _needs(phase).items():
        there = int(ray.cluster_resources().get(what, 0))
        if fewest * each > there:
            less = "leave use_gpu out" if what == "GPU" and not there else "lower num_workers"
            raise TrainingError(
                f"Phase {phase.name} wants {fewest} workers of one {what} each, and the Ray cluster has {there}: {less}, or "
                "add nodes."
            )


def _fit(job: Job) -> None:
    """Train to the end. What has lost too many workers, but has come further, goes on: a long phase loses many."""
    from components.training.checkpoint import whole

    while True:
        reached = whole(job.checkpoints)[-1:]
        try:
            return _attempt(job)
        except TrainingError:
            if whole(job.checkpoints)[-1:] == reached:
                raise


def _attempt(job: Job) -> None:
    from ray.exceptions import RayActorError
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from components.training.group import BACKENDS

    logging.getLogger("ray.train").setLevel(logging.WARNING)
    storage = job.scratch / "ray"
    workers: dict[str, Any] = {  # the annotations are those of Ray Train's first version
        "num_workers": job.config.phase.num_workers,
        "use_gpu": job.config.phase.use_gpu,
        "resources_per_worker": _needs(job.config.phase),
        "elastic_resize_monitor_interval_s": RESIZE_SECONDS,
    }
    trainer = TorchTrainer(
        _work,
        train_loop_config=job.as_json(),
        torch_config=TorchConfig(backend=BACKENDS[job.config.phase.use_gpu], timeout_s=STALL_SECONDS),
        scaling_config=ScalingConfig(**workers),
        # A name used before would make Ray continue from its own snapshot, also after success.
        run_config=RunConfig(
            name=f"attempt-{uuid.uuid4().hex[:12]}",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except RayActorError as error:  # whoever runs Ray Train was killed: nothing is wrong with the phase itself
        raise ServiceError(f"Phase {job.config.phase.name}: Ray lost the process that leads its workers.") from error
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(f"Phase {job.config.phase.name}: Ray Train gave up: {reason[-1]}") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)


@contextmanager
def _connected(num_workers: int) -> Iterator[None]:
    """A connection to the cluster of RAY_ADDRESS, or to one that lives as long as this block."""
    import ray

    if ray.is_initialized():
        yield
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    else:
        ray.init(
            num_cpus=num_workers,
            include_dashboard=False,
            object_store_memory=256 * 2**20,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    try:
        yield
    finally:
        ray.shutdown()
