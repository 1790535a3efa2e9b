"""What a flow knows of itself: how it was started, and the passage that belongs to it."""

from contextlib import AbstractContextManager

from prefect.runtime import flow_run

from components.recipe import Recipe
from flows.passage import Passage, passage


def door() -> str:
    """How this flow run was started: by our command (cli), a schedule, or anything else that starts deployments (ui)."""
    tags = set(flow_run.tags or [])
    if "headwater:cli" in tags:
        return "cli"
    if "auto-scheduled" in tags:
        return "schedule"
    return "ui"


def alone(recipe: Recipe) -> AbstractContextManager[Passage]:
    """The passage of the flow run that is under way."""
    return passage(recipe, str(flow_run.flow_name), str(flow_run.id), str(flow_run.name), door())
