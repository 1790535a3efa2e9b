"""Samples to model: run one training phase and export what came out of it."""

from pathlib import Path
from typing import Any

from components.artifacts import Export, Facts, Report, Samples
from components.digests import file_digest
from components.errors import TrainingError, UnknownName
from components.faults import point
from components.models import family
from components.models.base import logits
from components.models.folder import OBJECTIVES
from components.training.config import Job, TrainConfig
from components.training.objectives import objective


def train(
    config: TrainConfig, samples: Samples, init: Export | None, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with the model that the phase of `config` makes out of `samples`, starting from `init` or at random.

    Progress and checkpoints live in `scratch`: called again after any kind of death, it goes on from the newest
    verified checkpoint and ends with the same bytes. Raises UnknownName, and TrainingError where the loss is not
    finite, the samples or `init` do not fit, or the workers were lost too often.
    """
    from components.training.distributed import run_workers
    from components.training.progress import following

    job = Job(config, samples, init, scratch)
    check(job)
    told: dict[str, Any] = {
        "warnings": [],
        "resumed_from": None,
        "error": None,
        "memory_bytes": 0,
        "warm_up_seconds": 0.0,
    }
    if not finished(job, lambda line: _pass_on(line, told, report)):
        with following(job.progress, lambda line: _pass_on(line, told, report)):
            run_workers(job)
    if told["error"]:
        raise TrainingError(told["error"])
    return finish(job, out, told, report)


def check(job: Job) -> None:
    """Refuse what cannot work before anything is paid for. Raises UnknownName and TrainingError."""
    from components.training.loader import check_content

    phase = job.config.phase
    check_objective(job.config)
    wanted = objective(phase.objective).kind
    kind = job.samples.json("samples.json")["kind"]
    if kind != wanted:
        raise TrainingError(f"Phase {phase.name}: {phase.objective} learns from {wanted}, but the samples are {kind}.")
    objective(phase.objective).of(phase, job.samples)
    check_content(job.samples)
    if job.init is not None:
        ours, theirs = (file_digest(f / "tokenizer.json") for f in (job.samples.processor, job.init.path))
        if ours != theirs:
            raise TrainingError(
                f"Phase {phase.name}: the samples were made with tokenizer {ours[:8]} ({job.samples.processor}), "
                f"the model it starts from has {theirs[:8]} ({job.init.path})."
            )


def check_objective(config: TrainConfig) -> None:
    """Raises UnknownName where there is no such size, or where the phase's objective is not for such a model."""
    name, known = "an existing model", OBJECTIVES
    if config.size is not None:
        made = family(config.family)
        made.fields(config.size)
        name, known = made.name, made.objectives
    if config.phase.objective not in known:
        raise UnknownName(f"objective of {name}", config.phase.objective, known)


def finished(job: Job, report: Report) -> bool:
    """Whether an earlier attempt came to the last step, so that only the export is left."""
    from components.training.checkpoint import newest_verified
    from components.training.loader import total_steps

    found = newest_verified(job.checkpoints, report, job=job.digest)
    return found is not None and found.state.step == total_steps(job.config.phase, job.samples)


def finish(job: Job, out: Path, told: dict[str, Any], report: Report) -> Facts:
    """Export the last checkpoint; returns the facts of the phase."""
    from safetensors import SafetensorError

    from components.training.adapters import merge, save_adapter, trained
    from components.training.arithmetic import exact_arithmetic
    from components.training.checkpoint import newest_verified
    from components.training.counted import spent_flops
    from components.training.export import export
    from components.training.loader import Loader
    from components.training.model import fresh_model, initial_model, put_weights
    from components.training.page import write_page

    found = newest_verified(job.checkpoints, report, job=job.digest)
    if found is None:
        raise TrainingError(f"Phase {job.config.phase.name} ended without a usable checkpoint in {job.checkpoints}.")
    phase = job.config.phase
    partly = phase.adapter or phase.freeze  # then a checkpoint has only a part of the weights
    model = initial_model(job) if partly else fresh_model(job.config, job.samples, job.init)
    put_weights(model, found.tensors("model"), str(found.folder))
    num_trained = sum(p.numel() for p in trained(model).values())
    try:
        point("export.begun")
        with exact_arithmetic(phase.threads):
            if phase.adapter and job.init:
                save_adapter(model, phase.adapter, job.init, out)
                batch = Loader(job.samples, batch_size=1, seed=0).batch(0)
                outputs = family(job.config.family).outputs if job.config.size else logits
                merge(model.eval(), lambda whole: outputs(whole, batch))
            export(model, job.samples, out)
        point("export.written")
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"Phase {phase.name}: the export cannot be written to {out}: {error}") from error
    parameters, state = sum(p.numel() for p in model.parameters()), found.state
    facts = {
        "steps": state.step,
        "tokens": state.tokens,
        "seconds": round(state.seconds, 3),
        "loop_seconds": round(state.seconds, 3),
        "memory_bytes": told["memory_bytes"] * job.config.phase.most_workers,
        "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9), 1),
        **({"warm_up_seconds": told["warm_up_seconds"]} if phase.compile else {}),
        "final_loss": state.loss,
        "parameters": parameters,
        "trained_parameters": num_trained,
        "flops": spent_flops(job, model, num_trained, state),
        "resumed_from": told["resumed_from"],
        "warnings": told["warnings"],
        "skips": state.skips,
    }
    page = job.scratch / "report.html"
    write_page(job.progress, job.config.phase.name, facts, page)
    return {**facts, "report": str(page)}


def _pass_on(line: dict[str, Any], told: dict[str, Any], report: Report) -> None:
    """Report a line of progress; remember what belongs into the facts or ends the phase."""
    if "step" in line:
        shown = {name: value for name, value in line.items() if name not in ("step", "total")}
        report({"done": line["step"], "total": line["total"], "unit": "steps", **shown})
    if "warning" in line:
        told["warnings"].append(line["warning"])
    if "warning" in line or "text" in line:
        report(line)
    for name in ("memory_bytes", "warm_up_seconds"):  # rank 0's; what went on from a checkpoint warmed up again
        told[name] = max(told[name], line.get(name, 0))
    for name in ("resumed_from", "error"):
        told[name] = line.get(name, told[name])
