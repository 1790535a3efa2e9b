"""Ray Serve for real: a head of its own, the router, and versions that come and go under load."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
import pytest

from components.errors import ServiceError
from components.serving.rollout import Release, desired, look, reconcile
from components.serving.smoke import smoke_test

ROOT = Path(__file__).parents[3]
KEY = "sk-test"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@dataclass
class Head:
    """A Ray head on loopback with its dashboard, and where the endpoint will be."""

    dashboard: str
    token: str
    port: int
    api_key_file: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reconcile(self, *releases: Release) -> bool:
        want = desired(list(releases), port=self.port, api_key_file=self.api_key_file)
        return reconcile(want, dashboard=self.dashboard, token=self.token)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    (folder / "token").write_text("a" * 64)
    (folder / "keys").write_text(KEY + "\n")
    gcs, dashboard, client, agent, metrics, serve = free_ports(6)
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "PYTHONPATH": str(ROOT),
    }
    env |= {"RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as temp, (folder / "log").open("wb") as log:
        command = [
            Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", f"--port={gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}", "--num-cpus=8", f"--object-store-memory={128 * 2**20}", f"--temp-dir={temp}",
        ]  # fmt: skip
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        found = Head(f"http://127.0.0.1:{dashboard}", "a" * 64, serve, folder / "keys")
        try:
            _until_up(found, process, folder / "log")
            yield found
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """`ray start --block` takes half a minute to end its own children politely."""
    own = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in own:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(30)
    psutil.wait_procs(own, 10)


def _until_up(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            look(head.dashboard, head.token)
            return
        except ServiceError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, make_export: Callable[..., str]) -> tuple[Release, Release]:
    folder = tmp_path_factory.mktemp("exports")
    first, second = (make_export(folder / str(n), seed=n) for n in (1, 2))
    return (
        Release("demo", "1", first, folder / "1", champion=True, created=1_700_000_000),
        Release("demo", "2", second, folder / "2"),
    )


class Load:
    """Clients that ask without a pause; what went wrong, and which versions answered."""

    def __init__(self, head: Head, model: str) -> None:
        self.failed: list[str] = []
        self.models: list[str] = []
        self._head, self._model, self._over = head, model, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 0,)) for n in range(2)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, stream: bool) -> None:
        body = {"model": self._model, "prompt": "It was", "max_tokens": 8, "stream": stream}
        with httpx.Client(timeout=60, headers=HEADERS, trust_env=False) as client:
            while not self._over.is_set():
                try:
                    answer = client.post(f"{self._head.endpoint}/completions", json=body)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                    continue
                if answer.status_code != 200 or (stream and not answer.text.endswith("data: [DONE]\n\n")):
                    self.failed.append(answer.text)
                elif not stream:
                    self.models.append(answer.json()["model"])
                time.sleep(0.02)


def test_a_version_is_promoted_without_a_failed_request(head: Head, releases: tuple[Release, Release]) -> None:
    old, new = releases
    assert head.reconcile(old)
    assert not head.reconcile(old)
    smoke_test(head.endpoint, KEY, "demo", "It was")
    with Load(head, "demo") as load:
        assert head.reconcile(new, old)
        smoke_test(head.endpoint, KEY, "demo/2", "It was")
        assert head.reconcile(replace(new, champion=True))
        seen = len(load.models)
        while len(load.models) < seen + 5 and not load.failed:
            time.sleep(0.05)
    assert load.failed == []
    assert load.models[0] == "demo/1"
    assert load.models[-1] == "demo/2"
    assert set(look(head.dashboard, head.token)["applications"]) == {"router", "demo-2"}


def test_a_wrong_digest_is_refused_and_the_champion_stays(head: Head, releases: tuple[Release, Release]) -> None:
    champion = replace(releases[1], champion=True)
    head.reconcile(champion)
    with pytest.raises(ServiceError, match=r"demo-3.*has the digest .* refused"):
        head.reconcile(champion, replace(releases[0], version="3", digest="0" * 64, champion=False))
    smoke_test(head.endpoint, KEY, "demo@champion", "It was")
    assert head.reconcile(champion)


def test_a_killed_replica_fails_no_request(head: Head, releases: tuple[Release, Release]) -> None:
    champion = replace(releases[1], champion=True)
    head.reconcile(champion)
    with Load(head, "demo") as load:
        while len(load.models) < 5 and not load.failed:
            time.sleep(0.05)
        replicas = look(head.dashboard, head.token)["applications"]["demo-2"]["deployments"]["Replica"]["replicas"]
        psutil.Process(replicas[0]["pid"]).kill()
        seen = len(load.models)
        while len(load.models) < seen + 5 and not load.failed:
            time.sleep(0.05)
    cut = [answer for answer in load.failed if "in the middle of this answer" in answer]
    assert load.failed == cut, "only a stream that had begun may be cut, and it says so"
    assert len(cut) <= 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_replica(head: Head, releases: tuple[Release, Release], stream: bool) -> None:
    head.reconcile(replace(releases[1], champion=True))
    app = look(head.dashboard, head.token)["applications"]["demo-2"]
    replica = psutil.Process(app["deployments"]["Replica"]["replicas"][0]["pid"])
    body = {"model": "demo", "prompt": ["It was"] * 256, "max_tokens": 120, "n": 8, "stream": stream, "seed": 1}
    before = _busy(replica)
    asking = httpx.stream(
        "POST", f"{head.endpoint}/completions", json=body, timeout=1.5, headers=HEADERS, trust_env=False
    )
    with contextlib.suppress(httpx.ReadTimeout), asking as answer:
        for _ in answer.iter_bytes():
            if _busy(replica) > before + 0.5:
                break
    assert _busy(replica) > before
    worked = [_busy(replica)]
    while len(worked) < 3 or worked[-1] - worked[-3] > 0.3:  # minutes of work are left, unless they were dropped
        time.sleep(0.5)
        worked.append(_busy(replica))
    assert worked[-1] - before < 30


def _busy(process: psutil.Process) -> float:
    """Seconds of CPU that the process has used."""
    return sum(process.cpu_times()[:2])


def test_the_router_has_no_torch(head: Head, releases: tuple[Release, Release]) -> None:
    head.reconcile(replace(releases[1], champion=True))
    apps = look(head.dashboard, head.token)["applications"]
    pid = {name: app["deployments"][kind]["replicas"][0]["pid"] for name, app, kind in
           (("router", apps["router"], "Router"), ("demo-2", apps["demo-2"], "Replica"))}  # fmt: skip
    maps = {name: Path(f"/proc/{number}/maps").read_text() for name, number in pid.items()}
    assert "libtorch_cpu" in maps["demo-2"]
    assert "libtorch_cpu" not in maps["router"]
