"""The engines that Headwater runs on this machine: Prefect, its worker, MLflow, Ray and, inside Ray, Serve."""

from pathlib import Path
from typing import Any

from components.services import health
from components.services.environment import environment
from components.services.health import Service
from components.services.site import site_of
from components.services.starting import up
from components.services.stopping import down

__all__ = ["Service", "down", "environment", "status", "up"]


def status(home: Path, patience_seconds: float = 0) -> dict[str, Any]:
    """What `headwater status --json` prints: address and health of every service, and where the API key lies.

    A service that lives and does not answer is asked again until `patience_seconds`.
    """
    return health.status(site_of(home), patience_seconds)
