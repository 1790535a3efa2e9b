"""Approval: a run waits as long as it takes, for someone else than the one who ran it."""

import httpx
import pytest

MANUAL = ["--set", "approval=manual"]


def waiting(site, name):
    summary = site.json("run", "tiny", "--set", f"name={name}", *MANUAL)
    assert summary["status"] == "waiting"
    assert not any(step["status"] == "executed" for step in summary["steps"])
    return summary


def ended(site, name):
    """The same command attaches to the run and follows it to its end."""
    return site.json("run", "tiny", "--set", f"name={name}", *MANUAL)


def test_a_run_waits_through_a_restart_of_everything_until_someone_else_approves(site, tiny):
    run = waiting(site, "manual")["run"]
    refused = site.hw("approve", "manual/1", "--by", "Runner", "--reason", "mine")
    assert refused.returncode == 2
    assert "someone else has to" in refused.stderr
    assert site.hw("down").returncode == 0
    reason = "good scores [/] [red]"
    approved = site.hw("approve", "manual/1", "--by", "ann", "--reason", reason)
    assert approved.returncode == 0, approved.stderr
    summary = ended(site, "manual")
    assert (summary["run"], summary["status"]) == (run, "completed")
    assert summary["decision"] == {"decision": "approved", "by": "ann", "reason": reason, "how": "command"}
    shown = site.hw("run", "tiny", "--set", "name=manual", *MANUAL)
    assert f"approved by ann (as claimed): {reason}" in shown.stdout, shown.stderr
    again = site.hw("approve", "manual/1", "--by", "bob", "--reason", "me too")
    assert again.returncode == 2
    assert "already" in again.stderr


def test_the_form_of_the_ui_decides_too_and_a_refused_answer_asks_again(site, tiny):
    run = waiting(site, "form")["run"]
    assert _answer(site, run, {"decision": "approve", "by": "runner", "reason": "mine"}) == "ACCEPT"
    assert ended(site, "form")["status"] == "waiting"
    assert _answer(site, run, {"decision": "approve", "by": "eve", "reason": "read the report"}) == "ACCEPT"
    summary = ended(site, "form")
    assert summary["status"] == "completed"
    assert (summary["decision"]["by"], summary["decision"]["how"]) == ("eve", "form")


def test_a_rejection_ends_the_run_as_refused_and_serves_nothing(site, tiny):
    waiting(site, "rejected")
    assert site.hw("reject", "rejected/1", "--by", "ann", "--reason", "too small").returncode == 0
    runs = [row for row in site.json("runs")["runs"] if row["recipe"] == "rejected"]
    summary = _followed(site, runs[0]["run"])
    assert summary["status"] == "refused"
    assert "too small" in summary["error"]
    assert [v["status"] for v in site.json("models")["versions"] if v["name"] == "rejected"] == ["rejected"]


@pytest.mark.parametrize("ref", ["manual/99", "nobody/1", "manual"])
def test_unknown_versions_cannot_be_approved(site, tiny, ref):
    refused = site.hw("approve", ref, "--by", "ann", "--reason", "x")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1


def _answer(site, run, form):
    """What the Prefect UI sends when somebody fills the form in, which is there a moment after the run has begun to wait."""
    import time

    env = site.clients()
    flow_run = site.json("show", run)["flow_run"]
    user, password = env["PREFECT_API_AUTH_STRING"].split(":", 1)
    url = f"{env['PREFECT_API_URL']}/flow_runs/{flow_run}/resume"
    deadline = time.monotonic() + 30
    while True:
        answer = httpx.post(url, json={"run_input": form}, auth=(user, password))
        if answer.is_success:
            return answer.json()["status"]
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.5)


def _followed(site, run):
    import time

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        summary = site.json("show", run)
        if summary["status"] in ("refused", "failed", "completed"):
            return summary
        time.sleep(0.5)
    raise AssertionError(f"{run} did not end")
