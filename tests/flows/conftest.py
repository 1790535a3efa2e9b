"""One home for all tests of the flows: services started once, `tiny` run once."""

import pytest
from homes import Site, new_site


@pytest.fixture(scope="session")
def site():
    """A home with its services up."""
    made = new_site("flows")
    started = made.hw("up")
    assert started.returncode == 0, started.stdout + started.stderr
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny(site: Site):
    """What the first run of the tiny recipe printed."""
    return site.json("run", "tiny")
