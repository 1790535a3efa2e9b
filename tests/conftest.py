"""What tests share: a place for helper modules, and state folders of their own."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("headwater", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("headwater")
SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty state folder."""
    return tmp_path / "home"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The flows come first: where tests are divided over processes, they are the longest share."""
    items.sort(key=lambda item: scope(item.nodeid) != "flows")


@pytest.hookimpl(optionalhook=True)  # a hook of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divides tests over processes by file, and leaves all that share a home's services in one."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    return Scheduling(config, log)


def scope(nodeid: str) -> str:
    """The tests of one scope run one after the other in one process."""
    file = nodeid.split("::", 1)[0]
    return "flows" if file.startswith("tests/flows/") else file
