"""The ledger's schema is what its migrations make; decisions are final and bound to what was gated."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from components.errors import DecisionError, GateRefused, LeaseLost
from components.ledger import Ledger, database, promotion, runs
from components.ledger.tables import CandidateRow, ReleaseRow, Table


@pytest.fixture
def ledger(home):
    return Ledger(f"sqlite:///{home}/ledger.db")


def candidate(ledger, digest="d1", passed=True, baseline="", by="ann", approval="manual"):
    run = runs.open_run(ledger, "demo", {}, digest, by=by, door="cli")
    row = CandidateRow(
        name="demo",
        digest=digest,
        evaluation="e",
        verdict="v",
        baseline=baseline,
        approval=approval,
        passed=passed,
        run=run.id,
        created=0.0,
    )
    return promotion.propose(ledger, row)


def approve(ledger, row, by="bob", how="command"):
    return promotion.decide(ledger, row.id, "approved", by=by, reason="good", how=how)


def release(ledger, row, version):
    made = ReleaseRow(
        name="demo", digest=row.digest, version=version, candidate=row.id, rollout={}, run=row.run, at=0.0
    )
    return promotion.release(ledger, made)


def test_migrations_make_the_declared_schema(ledger):
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    scripts = ScriptDirectory(str(database.Path(database.__file__).parent / "migrations"))
    assert scripts.get_current_head() == database.HEAD


def test_the_same_recipe_is_followed_while_its_run_lives(ledger):
    first = runs.open_run(ledger, "demo", {}, "r", by="ann", door="cli")
    assert runs.open_run(ledger, "demo", {}, "r", by="bob", door="cli").id == first.id
    runs.leave(ledger, first.id, None, "completed")
    assert runs.open_run(ledger, "demo", {}, "r", by="ann", door="cli").id != first.id


def test_a_second_process_takes_a_run_from_the_first(ledger):
    row = runs.open_run(ledger, "demo", {}, "r", by="ann", door="cli")
    first = runs.enter(ledger, row.id, {"a": 1}, None, None)
    second = runs.enter(ledger, row.id, {"a": 2}, None, None)
    assert second.resolved == {"a": 1}
    runs.renew(ledger, row.id, second.attempt)
    with pytest.raises(LeaseLost):
        runs.renew(ledger, row.id, first.attempt)


def test_the_runner_may_not_approve(ledger):
    row = candidate(ledger)
    with pytest.raises(DecisionError, match="may not decide"):
        approve(ledger, row, by="Ann")
    assert approve(ledger, row, by="bob").by == "bob"
    with pytest.raises(DecisionError, match="already"):
        approve(ledger, row, by="eve")


def test_what_was_waved_through_is_not_approved_by_a_person(ledger):
    waved = candidate(ledger, approval="auto")
    approve(ledger, waved, by="recipe", how="auto")
    asked = candidate(ledger, approval="manual")
    assert promotion.decision(ledger, waved.id)
    assert promotion.decision(ledger, asked.id) is None


def test_no_approval_no_champion(ledger):
    row = candidate(ledger)
    with pytest.raises(DecisionError, match="no approval"):
        release(ledger, row, "1")
    refused = candidate(ledger, "d2", passed=False)
    with pytest.raises(GateRefused):
        approve(ledger, refused)
    approve(ledger, row)
    assert release(ledger, row, "1")
    assert not release(ledger, row, "1")
    assert promotion.champion(ledger, "demo").digest == "d1"


def test_a_champion_that_changed_since_the_gate_refuses_the_approval(ledger):
    first, second = candidate(ledger, "d1"), candidate(ledger, "d2")
    approve(ledger, first)
    release(ledger, first, "1")
    with pytest.raises(GateRefused, match="run the recipe again"):
        approve(ledger, second)
    approve(ledger, candidate(ledger, "d2", baseline="d1"))


@pytest.mark.parametrize("table", ["decisions", "releases"])
@pytest.mark.parametrize("change", ["UPDATE {} SET at = 1", "DELETE FROM {}"])
def test_decisions_and_releases_can_only_be_added_to(ledger, table, change):
    row = candidate(ledger)
    approve(ledger, row)
    release(ledger, row, "1")
    with pytest.raises(IntegrityError, match="only be added to"), ledger.engine.begin() as connection:
        connection.execute(text(change.format(table)))
