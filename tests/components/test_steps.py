"""Steps are done once, whatever is killed: exhaustively over every fault point of the commit protocol."""

import os
import subprocess
import sys
import threading

import pytest
import toy
from sqlalchemy import select

from components import faults
from components.errors import EmptyResult, LeaseLost, StoreError
from components.ledger import Ledger, work
from components.ledger.tables import StepRow
from components.steps import Input, declare, finished, identity, perform
from components.store import Store


def run_chain(home, fault=None):
    env = {**os.environ, **({"HEADWATER_FAULT": fault} if fault else {})}
    return subprocess.run([sys.executable, "-m", "toy", str(home)], env=env, capture_output=True, text=True)


def rows(home):
    with Ledger(f"sqlite:///{home}/ledger.db").reading() as session:
        return list(session.scalars(select(StepRow)))


def points_of_a_chain(home):
    faults.passed.clear()
    toy.chain(home)
    return [f"{name}:{n}" for name, times in faults.passed.items() for n in range(1, times + 1)]


def test_killed_at_every_point_a_rerun_ends_the_same(tmp_path):
    undisturbed = toy.chain(tmp_path / "undisturbed")
    points = points_of_a_chain(tmp_path / "counted")
    assert len(points) >= 20
    for number, fault in enumerate(points):
        home = tmp_path / f"killed-{number}"
        killed = run_chain(home, fault)
        assert killed.returncode == -9, f"{fault} was not reached"
        again = run_chain(home)
        assert again.stdout.split() == undisturbed, f"after a kill at {fault}: {again.stderr}"
        store = Store(home / "store")
        assert sorted(store.names()) == sorted(undisturbed), fault
        assert not [damage for _, damage in store.verify() if damage], fault
        assert not list(store.staging.iterdir()), f"{fault} left a staging folder"
        assert {row.status for row in rows(home)} == {"finished"}, fault


def test_a_kill_after_the_record_does_not_do_the_work_twice(home):
    assert run_chain(home, "steps.finished:2").returncode == -9
    assert run_chain(home).returncode == 0
    for times in (home / "scratch").glob("*/times.txt"):
        assert times.read_text() == "done\n"


def test_every_write_of_a_commit_is_followed_by_a_fault_point(home):
    """Between two writes that the interpreter reports, a fault point has been passed: no window is untested."""
    store = Store(home / "store")
    staging = store.begin("audit")
    (staging / "content" / "a.txt").write_text("water")
    unguarded, armed, last = [], [True], [None]

    def watch(event, arguments):
        writes = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if armed[0] and writes:
            passed = faults.passed.total()
            if last[0] == passed:
                unguarded.append((event, arguments[0]))
            last[0] = passed

    sys.addaudithook(watch)
    try:
        store.commit(staging, "corpus")
    finally:
        armed[0] = False
    assert last[0] is not None
    assert unguarded == []


def test_two_at_once_do_the_work_once(home):
    ledger, store = Ledger(f"sqlite:///{home}/ledger.db"), Store(home / "store")
    name = declare(ledger, toy.TOY, toy.ToyConfig(), [], "toy").identity
    digests = []
    threads = [
        threading.Thread(target=lambda: digests.append(perform(ledger, store, home / "scratch", name, None).digest))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert (home / "scratch" / name / "times.txt").read_text() == "done\n"


def test_a_failed_step_leaves_nothing_and_is_tried_again(home):
    ledger, store = Ledger(f"sqlite:///{home}/ledger.db"), Store(home / "store")
    name = declare(ledger, toy.TOY, toy.ToyConfig(text="empty"), [], "toy").identity
    for attempt in (1, 2):
        with pytest.raises(EmptyResult, match="nothing is left"):
            perform(ledger, store, home / "scratch", name, None)
        assert (home / "scratch" / name / "times.txt").read_text() == "done\n" * attempt
    assert store.names() == []
    assert not list(store.staging.iterdir())
    assert work.step(ledger, name).error["type"] == "EmptyResult"


def test_a_lost_artifact_makes_the_step_undone(home):
    digests = toy.chain(home)
    ledger, store = Ledger(f"sqlite:///{home}/ledger.db"), Store(home / "store")
    (store.open(digests[0]).path / "a.txt").unlink()
    first = identity(toy.TOY, toy.ToyConfig(), [])
    assert finished(ledger, store, work.step(ledger, first)) is None
    assert toy.chain(home) == digests


def test_a_damaged_input_is_named_and_made_anew_by_the_next_run(home):
    first, second = toy.chain(home)
    ledger, store = Ledger(f"sqlite:///{home}/ledger.db"), Store(home / "store")
    damaged = store.open(first).path / "a.txt"
    damaged.write_text("wateR")
    given = [Input("corpus", "corpus", first)]
    third = declare(ledger, toy.TOY, toy.ToyConfig(text="beer"), given, "third").identity
    with pytest.raises(StoreError, match=r"a\.txt is .* Run again"):
        perform(ledger, store, home / "scratch", third, "run-2")
    assert toy.chain(home) == [first, second]
    assert perform(ledger, store, home / "scratch", third, "run-2")
    assert damaged.read_text() == "water"


def test_one_who_lost_the_claim_cannot_finish(home):
    ledger = Ledger(f"sqlite:///{home}/ledger.db")
    name = declare(ledger, toy.TOY, toy.ToyConfig(), [], "toy").identity
    work.claim(ledger, name, "elsewhere/1/0.00/aa", None)
    with ledger.transaction() as session:
        session.get_one(StepRow, name).lease = 0
    assert work.claim(ledger, name, "elsewhere/2/0.00/bb", None) is not None
    with pytest.raises(LeaseLost):
        work.beat(ledger, name, "elsewhere/1/0.00/aa")


@pytest.mark.parametrize("change", [{"text": "wine"}])
def test_identity_follows_the_config_and_nothing_else(change):
    assert identity(toy.TOY, toy.ToyConfig(), []) == identity(toy.TOY, toy.ToyConfig(), [])
    assert identity(toy.TOY, toy.ToyConfig(**change), []) != identity(toy.TOY, toy.ToyConfig(), [])
