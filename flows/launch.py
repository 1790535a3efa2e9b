"""Starting runs and following them. The command submits and watches; a killed command loses nothing."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled, State

from components.errors import HeadwaterError, ServiceError
from components.ledger import Ledger, promotion, runs
from components.ledger.database import now
from components.ledger.tables import RunRow
from components.pace import Pace
from components.recipe import Recipe
from components.settings import Settings
from flows.cancelling import drop, let_go
from flows.deployments import accelerators, deployment_for, forget_registration, register
from flows.flow_runs import prefect_client, state_of
from flows.passage import recipe_digest

OFTEN, SELDOM = 0.4, 1.0
"""Seconds from one look at a run to the next, at first and in a long one."""
OFTEN_WELL, SELDOM_WELL = 3.0, 15.0
"""The same for whether services and the run's process are well, which takes longer."""
REVIVALS = 5
"""How often a followed run whose process died is put back before it counts as failed."""
GRACE_SECONDS = 25.0
"""How long a run may be with a worker before its process takes the lease."""


def submit(recipe: Recipe, here: Settings, ledger: Ledger, flow: str = "lifecycle") -> RunRow:
    """The run of a recipe in `flow`: the living one, put back to work if its process has died, or a new one."""
    content, known_as = recipe.model_dump(mode="json"), recipe_digest(recipe, flow)
    with prefect_client() as client:
        row = runs.open_run(ledger, recipe.name, content, known_as, by=here.user, door="cli")
        if (
            row.flow_run
            and (state := state_of(client, row.flow_run))
            and (state.is_cancelled() or state.is_cancelling())
        ):
            runs.cancelled(ledger, row.id)
            row = runs.open_run(ledger, recipe.name, content, known_as, by=here.user, door="cli")
        if row.status == "waiting" and _outdated(ledger, row):
            cancel(ledger, row)
            row = runs.open_run(ledger, recipe.name, content, known_as, by=here.user, door="cli")
        if row.flow_run is None:
            deployment = _deployment(client, deployment_for(recipe, flow), here)
            created = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"recipe": content},
                name=row.id,
                idempotency_key=row.id,
                tags=["headwater:cli"],
            )
            runs.bound(ledger, row.id, str(created.id))
        else:
            revive(client, ledger, row)
    found = runs.run(ledger, row.id)
    assert found is not None
    return found


def _deployment(client: SyncPrefectClient, name: str, here: Settings) -> Any:
    """The deployment that a recipe is submitted to; registered again where somebody has deleted it."""
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        forget_registration(here.home)
        register(here.home, accelerators())
        return client.read_deployment_by_name(name)


def revive(client: SyncPrefectClient, ledger: Ledger, row: RunRow) -> bool:
    """Put a run whose process is gone back to Scheduled, under its own id; whether that was needed."""
    if row.status not in runs.LIVE or row.lease > now() or row.flow_run is None:
        return False
    state = state_of(client, row.flow_run)
    if state is None or state.is_scheduled() or state.is_cancelled() or state.is_cancelling():
        return False
    if row.status == "waiting" and state.is_paused() and not _decided(ledger, row):
        return False
    young = state.timestamp is not None and now() - state.timestamp.timestamp() < GRACE_SECONDS
    if young and (state.is_pending() or state.is_running()):
        return False
    client.set_flow_run_state(UUID(row.flow_run), Scheduled(message="Put back: its process is gone."), force=True)
    return True


def follow(ledger: Ledger, run_id: str, show: Callable[[RunRow], None], heal: Callable[[], None]) -> RunRow:
    """Watch a run until it has ended or waits for a decision, reviving it when its process dies.

    `heal` brings back services that have died; it is called every few seconds and whenever one does not answer.
    """
    revived, pace, health = 0, Pace(OFTEN, SELDOM), Pace(OFTEN_WELL, SELDOM_WELL)
    while True:
        row = runs.run(ledger, run_id)
        assert row is not None
        show(row)
        if row.status not in runs.LIVE or (row.status == "waiting" and _suspended(row)):
            return row
        if health.due:
            health.looked()
            heal()
            revived += _look(ledger, row)
            if revived > REVIVALS:
                raise ServiceError(f"Run {run_id} lost its process {revived} times: see `headwater logs {run_id}`.")
        time.sleep(pace.seconds)


def resume(ledger: Ledger, waiting: list[RunRow]) -> None:
    """Wake every run that waits for a decision which has been made: it reads the ledger, and needs no answer here."""
    form = {"decision": "approve", "by": "", "reason": ""}
    with prefect_client() as client:
        for row in waiting:
            state = _settled(client, row.flow_run) if row.flow_run else None
            if state is None or _over(state):
                runs.cancelled(ledger, row.id)
                continue
            answer = client.resume_flow_run(UUID(row.flow_run), run_input=form)
            if answer.status.value != "ACCEPT":  # killed before its form was saved
                client.set_flow_run_state(UUID(row.flow_run), Scheduled(message="Decided."), force=True)


def _settled(client: SyncPrefectClient, flow_run: str) -> State[Any] | None:
    """The state of a flow run, which may be on its way into its suspension: for ten seconds it is given time."""
    for _ in range(50):
        state = state_of(client, flow_run)
        if state is None or not state.is_running():
            return state
        time.sleep(0.2)
    return state


def _over(state: State[Any] | None) -> bool:
    """Whether a flow run was cancelled, or deleted, in Prefect."""
    return state is None or state.is_cancelled() or state.is_cancelling()


def _outdated(ledger: Ledger, row: RunRow) -> bool:
    """Whether a run waits for a decision that can no longer be given, as the champion has changed since its gate."""
    asked = promotion.latest_candidate(ledger, row.name, ((row.outcome or {}).get("model") or {}).get("digest"))
    champion = promotion.champion(ledger, row.name)
    return bool(asked and champion and champion.digest not in (asked.digest, asked.baseline))


def cancel(ledger: Ledger, row: RunRow) -> None:
    """Cancel a run: its flow through Prefect, its jobs at once."""
    from prefect.states import Cancelled, Cancelling

    if row.status not in runs.LIVE:
        raise HeadwaterError(f"Run {row.id} is {row.status} already.")
    if row.flow_run:
        with prefect_client() as client:
            state = state_of(client, row.flow_run)
            if state is not None and not state.is_final():
                ends: State[Any] = Cancelling() if state.is_running() or state.is_pending() else Cancelled()
                client.set_flow_run_state(UUID(row.flow_run), ends, force=not state.is_running())
    runs.cancelled(ledger, row.id)
    drop(ledger, row.id)


def _look(ledger: Ledger, row: RunRow) -> int:
    """One look at Prefect: 1 when the run had to be put back; a run that Prefect ended without us is ended here too."""
    try:
        with prefect_client() as client:
            state = state_of(client, row.flow_run) if row.flow_run else None
            fresh = runs.run(ledger, row.id)
            if fresh is None or fresh.status not in runs.LIVE or fresh.flow_run is None:
                return 0
            if state is None or state.is_cancelled() or _stuck(state):
                let_go(fresh.flow_run)
                return 0
            if state.is_failed() and fresh.status == "submitted":
                message = {"type": "FlowFailed", "message": state.message or "The flow failed before it began."}
                runs.leave(ledger, row.id, None, "failed", error=message)
                return 0
            return int(revive(client, ledger, fresh))
    except ServiceError:
        return 0


def _suspended(row: RunRow) -> bool:
    """Whether a run that waits is still asleep, and not on its way again because somebody has answered."""
    try:
        with prefect_client() as client:
            state = state_of(client, row.flow_run) if row.flow_run else None
    except ServiceError:
        return False
    return state is None or state.is_paused()


def _stuck(state: State[Any]) -> bool:
    """Whether a cancellation has found nobody to carry it out: a worker that was restarted knows no process."""
    return bool(state.is_cancelling() and state.timestamp and now() - state.timestamp.timestamp() > GRACE_SECONDS)


def _decided(ledger: Ledger, row: RunRow) -> bool:
    model = (row.outcome or {}).get("model") or {}
    candidate = promotion.latest_candidate(ledger, row.name, model.get("digest"))
    return candidate is not None and promotion.decision(ledger, candidate.id) is not None
