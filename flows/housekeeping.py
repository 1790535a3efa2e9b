"""The commands around the services of this home: up, down, status, env, doctor."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from components import services
from components.ledger import Ledger
from components.services.secrets import secret_file
from components.settings import Settings, settings
from components.store import Store

PATIENCE_SECONDS = 60
"""For what was just started to answer: a busy machine takes its time."""


def up(asked: argparse.Namespace) -> int:
    """Start what is not healthy, and bring Prefect and Serve to what this home wants of them."""
    here = settings()
    ready(here, say)
    serve(here)
    return shown(services.status(here.home, PATIENCE_SECONDS), asked.json)


def down(asked: argparse.Namespace) -> int:
    """Stop every process that belongs to this home."""
    services.down(settings().home, say)
    return 0


def status(asked: argparse.Namespace) -> int:
    """Addresses and health; exit status 1 where one is unhealthy."""
    return shown(services.status(settings().home), asked.json)


def shown(found: dict[str, Any], as_json: bool) -> int:
    """Print what `services.status` found; the exit status."""
    if as_json:
        print(json.dumps(found))
    else:
        for name, service in found["services"].items():
            health = "healthy" if service["healthy"] else "DOWN   "
            print(f"{name:<8} {health}  {service['url'] or ''}  {service['ailment'] or ''}".rstrip())
        print(f"api key  {found['api_key_file']}")
    return 0 if all(service["healthy"] for service in found["services"].values()) else 1


def env(asked: argparse.Namespace) -> int:
    """Export lines for a shell."""
    for name, value in services.environment(settings().home).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def doctor(asked: argparse.Namespace) -> int:
    """What this machine lacks, with the command that mends it."""
    from components.services.doctor import doctor as examine

    findings = examine(settings().home)
    if asked.json:
        rows = [{"name": f.name, "ok": f.ok, "found": f.found, "remedy": f.remedy} for f in findings]
        print(json.dumps({"findings": rows}))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'LACK'}  {finding.name:<12} {finding.found}")
            if not finding.ok and finding.remedy:
                print(f"      mend: {finding.remedy}")
    return 0 if all(finding.ok for finding in findings) else 1


def ready(here: Settings, report: Any) -> None:
    """Services up, this process able to reach them, deployments registered. Quick where all of it is so already."""
    services.up(here.home, report)
    join(here)
    from flows.deployments import accelerators, register

    if register(here.home, accelerators()):
        report("deployments registered")


def join(here: Settings) -> None:
    """Make this process a client of the home's services, wherever they are now."""
    known = services.environment(here.home)
    if known.items() <= os.environ.items():
        return
    os.environ.update(known)
    if "prefect" in sys.modules:  # it read its settings when it was imported, and would start a server of its own
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def serve(here: Settings) -> bool:
    """Bring Ray Serve to what the ledger says; whether it had to change."""
    from flows.serving import deployed

    return deployed(here, Ledger(here.ledger_url), Store(here.store))


def addresses(home: Path) -> dict[str, str]:
    """What people open."""
    found = services.status(home)["services"]
    names = {"prefect": "Prefect UI", "mlflow": "MLflow UI", "ray": "Ray dashboard", "serve": "Endpoint"}
    suffix = {"serve": "/v1"}
    return {names[name]: f"{service['url']}{suffix.get(name, '')}" for name, service in found.items() if name in names}


def key_file(home: Path) -> str:
    """The file that holds the endpoint's API key."""
    return str(secret_file(home, "api_key"))


def say(line: str) -> None:
    """A line for people, beside the output."""
    print(line, file=sys.stderr, flush=True)
