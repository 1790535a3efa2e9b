"""What a plan takes for granted, in words."""

from collections.abc import Sequence

from components.models import family
from components.planning.accelerators import Accelerators
from components.planning.budget import Data
from components.planning.machine import Machine
from components.planning.phases import PhasePlan
from components.planning.timing import SERVICES_CORES, START_SECONDS, sharing
from components.recipe import Recipe


def assumptions(
    recipe: Recipe, machine: Machine, phases: Sequence[PhasePlan], table: Accelerators, data: Data, utilisation: float
) -> tuple[str, ...]:
    """Sentences about `phases`; those without a trial are planned at that `utilisation`."""
    assumed = []
    if real := [phase.name for phase in phases if phase.measured]:
        assumed.append(f"{', '.join(real)}: time and memory here are those of real steps, measured on this machine.")
    if formal := [phase.name for phase in phases if not phase.measured]:
        like = f", as {real[0]}" if real else ""
        assumed.append(
            f"{', '.join(formal)}: here by formula, at {utilisation:.0%} of the measured peak of products{like}."
        )
    if any(phase.num_workers for phase in recipe.train):
        assumed.append(f"A phase on Ray Train takes {START_SECONDS:.0f} s to start and end.")
    if any(sharing(phase, machine) > 1 for phase in recipe.train):
        assumed.append(
            f"Where a phase wants every core, Ray, Prefect and MLflow take {SERVICES_CORES:g} of one from it."
        )
    assumed.append(
        f"Accelerators: {table.utilisation:.0%} of the peak where accelerators.toml names no other, one sample at a time "
        "on each device, AdamW in fp32, the loss in chunks."
    )
    if recipe.size and family(recipe.family).like and len(recipe.with_role("part")) > len(family(recipe.family).parts):
        assumed.append(f"A part may bring its own shapes; the plan is of the size {recipe.size}.")
    assumed.append(f"Energy here: {table.machine.watts_per_core:g} W for each core that trains.")
    if any(phase.epochs is not None for phase in recipe.train) and data.corpus_tokens is None:
        each = data.bytes_per_token(recipe)
        assumed.append(f"Epochs: {each:.1f} bytes per token, and curation drops nothing but the held-out documents.")
    return tuple(assumed)
