"""The Ray head: one node on loopback, token required everywhere, with more logical CPUs than cores."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from components.errors import ServiceError
from components.services.engine import Engine, refusal
from components.services.processes import program
from components.services.site import Site

LOGICAL_CPUS = 8
"""At least: a served model and a training run with its workers must fit beside each other on two cores."""
OBJECT_STORE_BYTES = 512 * 2**20
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's own switch for "one machine, loopback": without it Ray announces, and listens on, the machine's address."""
LONGEST_FOLDER = 35
"""Characters of the temp folder that leave Ray's longest socket path under the kernel's 107."""


def temp_folder(home: Path) -> Path:
    """Where Ray keeps sockets and logs of this home: short, so under the system's temp and not in the home."""
    name = f"hw-{os.getuid()}-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:8]}"
    folder = Path(tempfile.gettempdir()) / name
    return folder if len(str(folder)) <= LONGEST_FOLDER else Path("/tmp") / name


def prepare(site: Site) -> None:
    """Make the temp folder; raises ServiceError if someone else has made it before."""
    folder = temp_folder(site.home)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid():
        raise ServiceError(f"{folder} belongs to someone else: remove it, or set TMPDIR to a folder of your own.")
    folder.chmod(0o700)


def remove(home: Path) -> None:
    """Remove the temp folder."""
    shutil.rmtree(temp_folder(home), ignore_errors=True)


def _command(site: Site) -> list[str]:
    ports = {
        "port": "gcs",
        "dashboard-port": "http",
        "dashboard-agent-listen-port": "agent",
        "dashboard-agent-grpc-port": "agent_grpc",
        "runtime-env-agent-port": "runtime_env",
        "metrics-export-port": "metrics",
        "ray-client-server-port": "client",
    }
    return [
        program("ray"),
        *("start", "--head", "--block", "--disable-usage-stats"),
        "--include-log-monitor=false",  # it reads every log ten times a second for drivers that ask for none
        *("--node-ip-address", "127.0.0.1", "--dashboard-host", "127.0.0.1", "--include-dashboard", "true"),
        *(f"--{option}={site.port('ray', purpose)}" for option, purpose in ports.items()),
        # 0: any free one, else all homes would share one range.
        *("--min-worker-port=0", "--max-worker-port=0"),
        f"--num-cpus={max(LOGICAL_CPUS, os.cpu_count() or 1)}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={temp_folder(site.home)}",
    ]


def _environment(site: Site) -> dict[str, str]:
    return {
        "DASHBOARD_METRIC_PORT": str(site.port("ray", "dashboard_metrics")),
        "AUTOSCALER_METRIC_PORT": str(site.port("ray", "autoscaler_metrics")),
        # A job that is stopped gets this long to finish its checkpoint.
        "RAY_JOB_STOP_WAIT_TIME_S": "5",
        # Else as many idle Python workers are started at once as there are logical CPUs.
        "RAY_enable_worker_prestart": "0",
        # By default some of this is looked at ten times a second, and training waits for it on a machine of few cores.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
        "RAY_metrics_report_interval_ms": "30000",
    }


def _ailment(site: Site) -> str | None:
    token = f"Bearer {site.secret('ray_token')}"
    return (
        refusal(site.port("ray"), "/api/version", token)
        or refusal(site.port("ray"), "/api/gcs_healthz", token)
        or refusal(site.port("ray", "agent"), "/api/local_raylet_healthz", token)
    )


_INNER = ("agent", "agent_grpc", "runtime_env", "metrics", "client", "dashboard_metrics", "autoscaler_metrics")
RAY = Engine(
    "ray",
    {"http": 8265, "gcs": 6379, **dict.fromkeys(_INNER)},
    _command,
    _environment,
    _ailment,
    without=("RAY_ADDRESS",),
)
