"""The plan of a recipe with real steps behind it: a few are taken of every phase that can be tried on this machine.

What a step took is kept in the home, so that the same model with the same batch is tried once a day; so is the fastest
product of the day, as the machine may be busy now.
"""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from components.digests import digest
from components.errors import HeadwaterError
from components.flops import SampleFlops
from components.models.folder import model_folder
from components.planning.accelerators import accelerators
from components.planning.architecture import Architecture
from components.planning.budget import Data, length
from components.planning.machine import Machine, measure
from components.planning.phases import memory_here, step_seconds, work_of
from components.planning.plan import Plan, architectures
from components.planning.plan import plan as planned
from components.planning.timing import StepCost
from components.recipe import Recipe, TrainPhase, identity_fields
from components.settings import Settings
from components.training.config import TrainConfig
from components.training.made_up import can_be_made_up
from components.training.probe import Probe, probe

Kept = TypeVar("Kept", StepCost, Machine)
DAY = 86_400.0
ROOM = 0.8
"""The part of the memory that is free now which a trial may take."""
WORTH_SECONDS = 20.0
"""A phase that is over sooner than that by formula is not worth a trial."""
AGAIN_SECONDS = 0.2
"""How long products are tried where they have been today."""
STEP_SECONDS = 4.0
"""The longest step that is tried whole; of a longer one, two small parts of its batch are, and the rest is a line."""
SHORTEST, PART, LONGEST_TRIAL = 3.0, 0.03, 12.0
"""Seconds that steps are tried for: this part of what they will take by formula, at least and at most."""
LONGEST = 30.0
"""Where even a part of the batch would take so many seconds a step, formulas have to do."""
UNCOUNTED = ("tokens", "epochs", "seed", "learning_rate", "warmup", "final_learning_rate", "weight_decay", "clip_norm")
"""Fields of a phase that change nothing about how long a step takes."""


def estimate(
    recipe: Recipe,
    here: Settings,
    data: Data,
    say: Callable[[str], None],
    *,
    worth: float = WORTH_SECONDS,
) -> Plan:
    """The plan of `recipe` on this machine and on the accelerators of the home's table.

    `say` hears what is tried. Phases that take less than `worth` seconds by formula are not. Raises InputError where the
    table is wrong, or the recipe names what does not exist.
    """
    table, machine = accelerators(here.home), _machine(recipe.train[0].threads, here.home / "cache" / "machine")
    models, costs, counted = architectures(recipe, data), dict[str, StepCost](), _counted(recipe)
    for phase in recipe.train:
        steps, _ = length(phase, recipe, data)
        likely = step_seconds(phase, recipe, models[phase.name], machine, data, counted.get(phase.name))
        if steps * likely < worth:
            continue
        seconds = min(LONGEST_TRIAL, max(SHORTEST, PART * steps * likely))
        cost = _cost(recipe, phase, models[phase.name], machine, here, data, say, seconds, likely)
        if cost:
            costs[phase.name] = cost
    return planned(recipe, machine, data, table=table, measured=costs, counted=counted)


def _counted(recipe: Recipe) -> dict[str, SampleFlops]:
    if recipe.images is None:
        return {}
    from components.training.counted import counted_flops

    return counted_flops(recipe)


def _cost(
    recipe: Recipe,
    phase: TrainPhase,
    shapes: Architecture,
    machine: Machine,
    here: Settings,
    data: Data,
    say: Callable[[str], None],
    seconds: float,
    likely: float,
) -> StepCost | None:
    """What real steps of `phase` take; None where none can be tried here."""
    what = _probe(recipe, phase, shapes, data, seconds)
    if what is None or phase.most_workers > machine.cores:
        return None
    known = here.home / "cache" / "steps" / f"{_key(what)}.json"
    if (kept := _kept(known, StepCost)) is not None:
        return kept
    parts = [what] if likely <= STEP_SECONDS else _parts(what, likely)
    worked = [work_of(part.config.phase, recipe, shapes, 0) for part in parts]
    needed = max(memory_here(p.config.phase, w).total for p, w in zip(parts, worked, strict=True))
    if needed * phase.most_workers > ROOM * _free() or likely * _share(parts[-1], what) > LONGEST:
        return None
    say(f"Trying a few steps of phase {phase.name} to see how long they take.")
    try:
        cost = _line([StepCost.model_validate(probe(part, here.scratch)) for part in parts], parts, what)
    except HeadwaterError as error:
        say(f"{error} Formulas have to do.")
        return None
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(cost.model_dump_json())
    return cost


def _probe(recipe: Recipe, phase: TrainPhase, shapes: Architecture, data: Data, seconds: float) -> Probe | None:
    """What to try for `phase`; None where its samples or its first weights cannot be made up."""
    config = TrainConfig(family=recipe.family, size=recipe.size, phase=phase)
    if not can_be_made_up(config) or (data.base and model_folder(data.base).gguf):
        return None  # a GGUF is no folder that training reads; once it is taken, it is one
    chats = data.chat_tokens(phase, recipe)
    if phase.data != "corpus" and not chats:
        return None
    return Probe(
        config=config,
        context=recipe.prepare.context,
        vocab_size=shapes.vocab_size or recipe.prepare.vocab_size,
        chat_tokens=chats,
        image_size=recipe.images.size if recipe.images else None,
        init=str(data.base) if data.base else None,
        seconds=seconds,
    )


def _parts(what: Probe, likely: float) -> list[Probe]:
    """`what` with a small batch and with one of twice the size."""
    phase = what.config.phase
    each = max(1, int(phase.batch_size * STEP_SECONDS / likely / 2 / phase.most_workers))
    few = each * phase.most_workers  # as many for each worker, for the busiest takes the time
    if 2 * few >= phase.batch_size:
        return [what]
    return [_with_batch(what, few), _with_batch(what, 2 * few)]


def _with_batch(what: Probe, batch_size: int) -> Probe:
    phase = what.config.phase.model_copy(update={"batch_size": batch_size})
    return what.model_copy(update={"config": what.config.model_copy(update={"phase": phase})})


def _share(part: Probe, whole: Probe) -> float:
    return part.config.phase.batch_size / whole.config.phase.batch_size


def _line(found: list[StepCost], parts: list[Probe], whole: Probe) -> StepCost:
    """The line through what parts of a batch took, at the whole batch."""
    if len(found) == 1:
        return found[0]
    less, more = found
    times = (1 / _share(parts[0], whole)) - 1  # the distance to the whole batch, in small batches
    micro = getattr(whole.config.phase, "micro_batch_size", None)
    grows = micro is None
    return StepCost(
        step_seconds=less.step_seconds + times * max(0.0, more.step_seconds - less.step_seconds),
        first_seconds=more.first_seconds,
        checkpoint_seconds=more.checkpoint_seconds,
        process_bytes=less.process_bytes,
        peak_bytes=less.peak_bytes + round(times * max(0, more.peak_bytes - less.peak_bytes))
        if grows
        else more.peak_bytes,
        growth_bytes=more.growth_bytes,
        steps=more.steps,
    )


def _key(what: Probe) -> str:
    """What a measurement depends on: machine, code, model, batch and data."""
    phase = {name: value for name, value in identity_fields(what.config.phase).items() if name not in UNCOUNTED}
    code = Path(__file__).parents[1] / "components" / "training"
    files = {path.name: path.stat().st_mtime_ns for path in sorted(code.glob("*.py"))}
    lengths = [len(what.chat_tokens), sum(what.chat_tokens)]
    machine = [platform.node(), platform.machine(), os.cpu_count()]
    rest = what.model_dump(mode="json", exclude={"config", "chat_tokens", "seconds"})
    return digest([phase, what.config.family, what.config.size, rest, lengths, machine, files])[:32]


def _machine(threads: int, folder: Path) -> Machine:
    """This machine, at the fastest that its products have been today."""
    from importlib.metadata import version

    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    path = folder / f"{digest([platform.node(), cpu, os.cpu_count(), version('torch'), threads])[:32]}.json"
    kept = _kept(path, Machine)
    found = measure(threads, AGAIN_SECONDS) if kept else measure(threads)
    if kept and kept.flops >= found.flops:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.model_dump_json())
    return found


def _kept(path: Path, kind: type[Kept]) -> Kept | None:
    """What was measured today and kept at `path`."""
    try:
        if time.time() - path.stat().st_mtime < DAY:
            return kind.model_validate_json(path.read_text())
    except (OSError, ValueError):
        pass
    return None


def _free() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
