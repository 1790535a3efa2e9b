import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from components import services
from components.births import birth, is_alive
from components.errors import InputError, ServiceError
from components.services.processes import HOME, SERVICE, belonging, start, stop, tree
from components.services.site import Record, Site, site_of

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = [sys.executable, "-c", f"import subprocess, time; subprocess.Popen({SLEEP!r}, env={{}}); time.sleep(600)"]


@pytest.fixture
def sleeper():
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


def test_a_process_number_that_was_given_anew_is_never_killed(tmp_path, sleeper):
    record = Record({"http": 1}, pid=sleeper.pid, born="another boot/1")
    Site(tmp_path, dict.fromkeys(("prefect", "worker", "mlflow", "ray", "serve"), record)).save()
    services.down(tmp_path, print)
    assert sleeper.poll() is None
    assert not is_alive(sleeper.pid, "another boot/1")
    assert is_alive(sleeper.pid, birth(sleeper.pid))


def test_down_ends_what_no_record_knows_and_what_descends_from_it(tmp_path):
    pid = start(PARENT, os.environ | {HOME: str(tmp_path), SERVICE: "prefect"}, tmp_path / "log", tmp_path)
    while len(tree(pid, birth(pid))) < 2:
        time.sleep(0.05)
    child = tree(pid, birth(pid))[1]
    services.down(tmp_path, print)
    assert birth(pid) is None
    assert birth(child.pid) is None


def test_an_orphan_without_environment_is_known_by_its_session(tmp_path):
    pid = start(PARENT, os.environ | {HOME: str(tmp_path), SERVICE: "ray"}, tmp_path / "log", tmp_path)
    born = birth(pid)
    while len(tree(pid, born)) < 2:
        time.sleep(0.05)
    child = tree(pid, born)[1]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=5)
    assert belonging(tmp_path, {}) == []
    assert belonging(tmp_path, {pid: born}) == [child]
    stop([child], grace_seconds=5)
    assert birth(child.pid) is None


def test_a_process_of_another_home_is_left_alone(tmp_path):
    pid = start(SLEEP, os.environ | {HOME: str(tmp_path / "other"), SERVICE: "ray"}, tmp_path / "log", tmp_path)
    assert belonging(tmp_path / "home", {}) == []
    assert [process.pid for process in belonging(tmp_path / "other", {})] == [pid]
    stop(belonging(tmp_path / "other", {}), grace_seconds=5)


def test_a_caller_that_belongs_to_a_service_does_not_end_itself(tmp_path):
    code = "from components import services; from pathlib import Path; import sys; \
services.down(Path(sys.argv[1]), print); print('still here')"
    environment = os.environ | {HOME: str(tmp_path), SERVICE: "worker"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.stdout == "still here\n"


def test_nothing_is_healthy_and_nothing_known_before_the_first_up(tmp_path):
    status = services.status(tmp_path)
    assert not any(service["healthy"] for service in status["services"].values())
    assert status["api_key_file"] == str(tmp_path / "secrets" / "api_key")
    with pytest.raises(ServiceError, match="headwater up"):
        services.environment(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_records_that_are_torn_are_named(tmp_path):
    (tmp_path / "services.json").write_text(json.dumps({"ray": 1})[:5])
    with pytest.raises(ServiceError, match=r"services\.json"):
        site_of(tmp_path)


def test_a_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"HEADWATER_HOME=.*file/home"):
        services.up(tmp_path / "file" / "home", print)
