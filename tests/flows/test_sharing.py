"""Several runs at once: one recipe is one run, and recipes that share steps share their jobs."""

import json
import time
from collections import Counter

import pytest
from homes import new_site

PRETRAIN = ["--set", "train.pretrain.seed=77", "--set", "train.pretrain.tokens=400000"]


def step_status(site, run, name):
    return {step["name"]: step["status"] for step in site.json("show", run)["steps"]}.get(name)


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.5)
    raise AssertionError("it did not come to that")


def test_two_recipes_share_a_job_and_cancelling_one_leaves_it_to_the_other(site, tiny):
    names = ("sharea", "shareb")
    for name in names:
        assert site.hw("run", "tiny", "--set", f"name={name}", *PRETRAIN, "--detach").returncode == 0
    runs = {row["recipe"]: row["run"] for row in site.json("runs")["runs"] if row["recipe"] in names}
    wait_until(lambda: all(step_status(site, run, "train:pretrain") == "running" for run in runs.values()))
    time.sleep(5)
    assert site.hw("cancel", runs["sharea"]).returncode == 0
    ended = site.json("run", "tiny", "--set", "name=shareb", *PRETRAIN)
    assert (ended["run"], ended["status"]) == (runs["shareb"], "completed")
    assert site.json("show", runs["sharea"])["status"] == "cancelled"
    assert _submission(site, "shareb/1", "train:pretrain").endswith("-1"), "the job was stopped and begun again"


def test_two_commands_at_once_are_one_run(site, tiny):
    commands = [site.start("run", "tiny", "--set", "evaluate.seed=3", "--json") for _ in range(2)]
    answers = [json.loads(command.communicate(timeout=200)[0]) for command in commands]
    assert [command.returncode for command in commands] == [0, 0]
    assert answers[0]["run"] == answers[1]["run"]
    assert [s["name"] for s in answers[0]["steps"] if s["status"] == "executed"] == ["evaluate", "gate"]


@pytest.mark.slow
def test_eight_commands_at_once_on_a_fresh_home_are_one_run():
    made = new_site("eight")
    try:
        assert made.hw("up").returncode == 0
        commands = [made.start("run", "tiny", "--json") for _ in range(8)]
        answers = [json.loads(command.communicate(timeout=400)[0]) for command in commands]
        assert len({answer["run"] for answer in answers}) == 1
        executed = Counter(step["name"] for step in answers[0]["steps"] if step["status"] == "executed")
        assert set(executed.values()) == {1}
        assert len(made.json("models")["versions"]) == 1
    finally:
        made.close()


def _submission(site, ref, step):
    nodes = [site.json("why", ref)]
    while nodes:
        node = nodes.pop()
        if node.get("step") == step:
            return node["submission"]
        nodes += node["inputs"]
    raise AssertionError(f"no {step} below {ref}")
