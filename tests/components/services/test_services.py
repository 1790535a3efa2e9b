"""Real servers, one home for the whole module: starting takes most of the time."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components import services
from components.births import birth
from components.errors import ServiceError
from components.services import ray
from components.services.doctor import doctor
from components.services.processes import belonging
from components.services.site import site_of

BIN = Path(sys.executable).parent


def silent(line: str) -> None:
    pass


def left_over(home: Path) -> list[psutil.Process]:
    return belonging(home, site_of(home).leaders())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose services are up, while a foreign process listens on MLflow's usual port."""
    home = tmp_path_factory.mktemp("state") / "a home"
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            foreign.bind(("127.0.0.1", 5000))
            foreign.listen()
        except OSError:
            pass  # somebody has it already, which is as good
        try:
            services.up(home, silent)
            yield home
        finally:
            services.down(home, silent)


@pytest.fixture
def client(home):
    """The environment of a plain client, as `eval "$(headwater env)"` makes it."""
    return os.environ | services.environment(home) | {"PATH": f"{BIN}:{os.environ['PATH']}"}


def test_every_service_is_healthy_and_a_taken_port_is_avoided(home):
    found = services.status(home)["services"]
    assert {name for name, service in found.items() if service["healthy"]} == {"prefect", "worker", "mlflow", "ray"}
    assert set(found) == {"prefect", "worker", "mlflow", "ray", "serve"}
    assert found["mlflow"]["url"] != "http://127.0.0.1:5000"


def test_up_again_starts_nothing(home):
    before = site_of(home).records
    up = services.up(home, silent)
    assert site_of(home).records == before
    assert {name for name, service in up.items() if service.healthy} == {"prefect", "worker", "mlflow", "ray"}


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("prefect", "/api/admin/version"),
        ("mlflow", "/api/2.0/mlflow/experiments/get?experiment_id=0"),
        ("mlflow", "/"),
        ("ray", "/api/jobs/"),
        ("ray", "/api/serve/applications/"),
    ],
)
def test_without_token_it_is_refused(home, service, path):
    connection = http.client.HTTPConnection("127.0.0.1", site_of(home).port(service), timeout=20)
    connection.request("GET", path)
    assert connection.getresponse().status == 401


def test_everything_listens_on_loopback_only(home):
    ours = {process.pid for process in left_over(home)}
    addresses = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in ours}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_secrets_are_for_their_owner_alone(home):
    assert (home / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (home / "secrets").iterdir()} == {0o600}
    assert (home / "secrets" / "api_key").read_text().startswith("hw-")


def test_doctor_finds_the_services_healthy(home):
    findings = {finding.name: finding for finding in doctor(home)}
    assert all(findings[name].ok for name in ("prefect", "worker", "mlflow", "ray"))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("prefect work-pool ls", "headwater"),
        ("mlflow experiments search", "Default"),
        ("ray job list", ""),
        ("ray status", "CPU"),
        ("serve status", "applications"),
    ],
)
def test_plain_command_reaches_its_service(client, command, shown):
    done = subprocess.run(command.split(), env=client, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_a_job_has_the_environment_of_a_client(home, client):
    reach = "import os, httpx, ray, components; ray.init(); \
url, login = os.environ['PREFECT_API_URL'], tuple(os.environ['PREFECT_API_AUTH_STRING'].split(':')); \
print('reached', httpx.get(url + '/admin/version', auth=login).status_code, os.environ['HEADWATER_HOME'])"
    command = ["ray", "job", "submit", "--", "python", "-c", reach]
    done = subprocess.run(command, env=client, capture_output=True, text=True, timeout=120)
    assert f"reached 200 {home}" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["worker", "mlflow", "prefect", "ray"])
def test_a_killed_service_alone_is_restarted_on_its_port(home, name):
    before = site_of(home).records
    psutil.Process(before[name].pid).send_signal(signal.SIGKILL)
    psutil.wait_procs([psutil.Process(before[name].pid)], timeout=10)
    services.up(home, silent)
    after = site_of(home).records
    assert {changed for changed in after if after[changed].born != before[changed].born} == {name}
    assert {n: record.ports for n, record in after.items()} == {n: record.ports for n, record in before.items()}
    assert services.status(home)["services"][name]["healthy"]


def test_a_service_that_cannot_start_is_named_with_its_log(home):
    users, aside = home / "mlflow" / "users.db", home / "mlflow" / "users.aside"
    process = psutil.Process(site_of(home).records["mlflow"].pid)
    process.kill()
    process.wait(10)
    users.rename(aside)
    users.write_text("this is no database\n" * 100)
    with pytest.raises(ServiceError, match=r"mlflow did not start: .*mlflow\.log ends: ."):
        services.up(home, silent)
    users.unlink()
    aside.rename(users)
    assert services.up(home, silent)["mlflow"].healthy


def test_down_leaves_nothing(home):
    temp = ray.temp_folder(home)
    assert temp.is_dir()
    services.down(home, silent)
    assert left_over(home) == []
    assert not temp.exists()


def test_up_that_is_killed_half_way_leaves_nothing_after_down(tmp_path):
    code = "import sys, components.services as s; from pathlib import Path; s.up(Path(sys.argv[1]), print)"
    starting = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    while len(belonging(tmp_path, {})) < 4:  # some are recorded by then, some may not be
        assert starting.poll() is None
    starting.kill()
    starting.wait()
    (tmp_path / "services.json").unlink(missing_ok=True)  # as if it had been killed before it recorded anything
    assert belonging(tmp_path, {})
    services.down(tmp_path, silent)
    assert belonging(tmp_path, {}) == []


@pytest.mark.slow
def test_two_homes_side_by_side(tmp_path):
    homes = [tmp_path / "one", tmp_path / "two"]
    try:
        urls = [service.url for home in homes for service in services.up(home, silent).values() if service.url]
        assert len(set(urls)) == len(urls) == 8
        assert all(site_of(home).records.keys() == services.up(home, silent).keys() for home in homes)
        services.down(homes[0], silent)
        assert birth(site_of(homes[1]).records["ray"].pid)
        assert services.status(homes[1])["services"]["ray"]["healthy"]
    finally:
        for home in homes:
            services.down(home, silent)
    assert [left_over(home) for home in homes] == [[], []]


@pytest.mark.slow
def test_a_recorded_port_that_was_taken_meanwhile_moves_and_clients_follow(tmp_path):
    try:
        services.up(tmp_path, silent)
        services.down(tmp_path, silent)
        with socket.create_server(("127.0.0.1", site_of(tmp_path).port("prefect"))) as foreign:
            up = services.up(tmp_path, silent)
            assert up["prefect"].healthy
            assert up["worker"].healthy
            assert up["prefect"].url != f"http://127.0.0.1:{foreign.getsockname()[1]}"
            assert services.environment(tmp_path)["PREFECT_API_URL"] == f"{up['prefect'].url}/api"
    finally:
        services.down(tmp_path, silent)
