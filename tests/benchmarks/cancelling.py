"""Seconds from a run's state Cancelling to the end of its Ray job, for each way to cancel.

`python tests/benchmarks/cancelling.py` starts services of its own and, for each way, a training run that would take
minutes; it cancels once there is a checkpoint, and looks at Prefect's state and at the job's driver ten times a second.
There is no peer: the bound is ten seconds. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

sys.path.append(str(Path(__file__).parents[1] / "support"))
from homes import Site, new_site

BOUND_SECONDS = 10.0
WAYS = ("headwater cancel", "prefect flow-run cancel", "the API, as the UI does")


def main() -> None:
    """Measure every way, `--runs` times each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    runs = parser.parse_args().runs
    site = new_site("cancel")
    try:
        found = {way: [seconds(site, way) for _ in range(runs)] for way in WAYS}
    finally:
        site.close()
    worst = max(max(times) for times in found.values())
    print(json.dumps({"ours": worst, "peers": {"bound": BOUND_SECONDS}, "ratio": BOUND_SECONDS / worst, "runs": found}))


def seconds(site: Site, way: str) -> float:
    """From Cancelling to the end of the driver."""
    longer = ["--set", "train.pretrain.tokens=30000000", "--set", "train.pretrain.checkpoint_seconds=1"]
    command = site.start("run", "tiny", *longer, "--set", f"train.pretrain.seed={time.time_ns() % 10**6}", "--json")
    while not (run := training(site)):
        time.sleep(1)
    flow_run, clients = site.json("show", run)["flow_run"], site.clients()
    api = httpx.Client(
        auth=tuple(clients["PREFECT_API_AUTH_STRING"].split(":", 1)), base_url=clients["PREFECT_API_URL"]
    )
    asking = ask(site, way, run, flow_run, api)
    while api.get(f"/flow_runs/{flow_run}").json()["state"]["type"] not in ("CANCELLING", "CANCELLED"):
        time.sleep(0.1)
    began = time.monotonic()
    while drivers(site):
        time.sleep(0.1)
    took = time.monotonic() - began
    if asking:
        asking.wait()
    command.wait()
    print(f"{way}: the job had ended {took:.1f} s after Cancelling", flush=True)
    return round(took, 2)


def ask(site: Site, way: str, run: str, flow_run: str, api: httpx.Client) -> "subprocess.Popen[str] | None":
    """Ask for the cancellation of a run, and do not wait."""
    if way == WAYS[0]:
        return site.start("cancel", run)
    if way == WAYS[1]:
        prefect = Path(sys.executable).parent / "prefect"
        return subprocess.Popen([prefect, "flow-run", "cancel", flow_run], env=site.clients(), text=True)
    api.post(f"/flow_runs/{flow_run}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
    return None


def training(site: Site) -> str | None:
    """The run that has a checkpoint of its first phase and still goes on."""
    for row in site.json("runs")["runs"]:
        if row["status"] == "running":
            for step in site.json("show", row["run"])["steps"]:
                kept = (site.home / "scratch" / step["identity"]).glob("checkpoints/step-*")
                if step["name"] == "train:pretrain" and any(kept):
                    return str(row["run"])
    return None


def drivers(site: Site) -> list[int]:
    """The drivers of jobs in this home."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if "components.jobs.main" in (process.info["cmdline"] or []):
                found += [process.pid] * (process.environ().get("HEADWATER_HOME") == str(site.home))
        except psutil.Error:
            continue
    return found


if __name__ == "__main__":
    main()
