"""The deployments by which everything is started: one for each shipped recipe, `lifecycle/run` for any other, `scaling/run`."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from components.digests import digest
from components.errors import InputError
from components.recipe import Recipe
from components.recipe.file import read_recipe
from flows.recipes import shipped_recipes

POOL = "headwater"
ACCELERATOR = "accelerator"
"""The Prefect concurrency limit that training takes a slot of."""
ENTRYPOINTS = {"lifecycle": "flows.lifecycle.lifecycle", "scaling": "flows.scaling.scaling"}
"""The flows that have deployments."""
NIGHTLY = {"cron": "0 2 * * *", "timezone": "UTC", "active": False, "slug": "nightly"}


def shipped() -> dict[str, Recipe]:
    """Every shipped recipe by name."""
    return {name: read_recipe(path) for name, path in shipped_recipes().items()}


def wanted() -> dict[str, dict[str, Any]]:
    """Parameters and schedules of every deployment, by flow and name."""
    rows: dict[str, dict[str, Any]] = {
        f"lifecycle/{name}": {
            "description": recipe.description,
            "parameters": {"recipe": recipe.model_dump(mode="json")},
            "schedules": [NIGHTLY],
        }
        for name, recipe in shipped().items()
    }
    for flow in ENTRYPOINTS:
        said = "Any recipe: give its content as the parameter."
        rows[f"{flow}/run"] = {"description": said, "parameters": {}, "schedules": []}
    return rows


def deployment_for(recipe: Recipe, flow: str = "lifecycle") -> str:
    """The deployment of `flow` whose content `recipe` is, or the one for any recipe."""
    same = [name for name, known in shipped().items() if known == recipe and flow == "lifecycle"]
    return f"{flow}/{same[0] if same else 'run'}"


def register(home: Path, slots: int) -> bool:
    """Bring Prefect to the wanted deployments and concurrency limits; False where this home has them already."""
    mark = _mark(home)
    wants = digest({"deployments": wanted(), "limits": {ACCELERATOR: slots}})
    if mark.exists() and mark.read_text() == wants:
        return False
    _apply(slots)
    mark.write_text(wants)
    return True


def forget_registration(home: Path) -> None:
    """Have the next `register` ask Prefect again, whatever this home remembers."""
    _mark(home).unlink(missing_ok=True)


def accelerators() -> int:
    """How many training jobs may hold an accelerator at once: HEADWATER_ACCELERATORS, or one."""
    text = os.environ.get("HEADWATER_ACCELERATORS", "1")
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"HEADWATER_ACCELERATORS={text!r}: expected a whole number from 1.")
    return int(text)


def _mark(home: Path) -> Path:
    return home / "prefect" / "deployments.digest"


def _apply(slots: int) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for name, row in wanted().items():
            _deploy(client, name, row)
        client.upsert_global_concurrency_limit_by_name(name=ACCELERATOR, limit=slots)


def _deploy(client: Any, name: str, row: dict[str, Any]) -> None:
    """One deployment; the schedules of one that is there stay as people have set them."""
    from prefect.exceptions import ObjectNotFound
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    flow, _, short = name.partition("/")
    try:
        client.read_deployment_by_name(name)
        schedules = None
    except ObjectNotFound:
        schedules = [
            Cron(s["cron"], timezone=s["timezone"], active=s["active"], slug=s["slug"]) for s in row["schedules"]
        ]
    module, _, function = ENTRYPOINTS[flow].rpartition(".")
    deployment = getattr(import_module(module), function).to_deployment(
        short,
        parameters=row["parameters"],
        description=row["description"],
        schedules=schedules,
        work_pool_name=POOL,
        tags=["headwater"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.apply()


def prefect_yaml() -> str:
    """The content of infra/prefect.yaml, for teams that deploy with `prefect deploy`."""
    import yaml

    rows = [
        {
            "name": name.partition("/")[2],
            "description": row["description"],
            "entrypoint": ENTRYPOINTS[name.partition("/")[0]],
            "parameters": row["parameters"],
            "schedules": row["schedules"],
            "enforce_parameter_schema": True,
            "tags": ["headwater"],
            "work_pool": {"name": POOL},
        }
        for name, row in wanted().items()
    ]
    head = "# Written by `python -m flows.deployments` from flows/recipes; `make check` compares.\n"
    return head + yaml.safe_dump(
        {"name": "headwater", "deployments": rows}, sort_keys=False, allow_unicode=True, width=120
    )


if __name__ == "__main__":
    print(prefect_yaml(), end="")
