"""One Ray in this process for every test that needs one: a second, after a shutdown, mistakes its actors for the first's."""

import os

import pytest


@pytest.fixture(scope="session")
def ray_engine():
    """Ray with a few logical CPUs, as long as the tests last."""
    import ray

    # No token file in the user's home, and no report of use.
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    ray.init(num_cpus=4, object_store_memory=2**28, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
