"""Learning curves: one MLflow run for each training step, however often it is mirrored."""

import math
from collections.abc import Iterator
from typing import Any

from components.registry.connection import experiment_id, mlflow_client, run_by_identity

BATCH = 900
"""Metrics in one call; MLflow takes 1000 entries, and the row that crosses this bound may be long."""
LAST_STEP = "headwater.last_step"


def mirror(
    run_name: str,
    step_identity: str,
    rows: list[dict[str, Any]],
    tags: dict[str, str],
    params: dict[str, Any],
    experiment: str,
    *,
    finished: bool = False,
) -> str:
    """Bring the run of `step_identity` up to `rows` and return its id.

    A row is {"step": int, metric: number, ...}, in rising order of steps, optionally with "time" in Unix seconds.
    Only rows after the last one that MLflow has are sent; `finished` ends the run. Raises ServiceError.
    """
    from mlflow.entities import RunTag

    with mlflow_client() as client:
        run = run_by_identity(client, experiment_id(client, experiment), run_name, step_identity, tags)
        run_id = run.info.run_id
        _describe(client, run, tags, params)
        last = int(run.data.tags.get(LAST_STEP, -1))
        for batch in _batches([row for row in rows if row["step"] > last], run.info.start_time):
            # MLflow writes metrics before tags, and takes a metric that it has already for the same
            client.log_batch(run_id, metrics=batch, tags=[RunTag(LAST_STEP, str(batch[-1].step))])
        if finished and run.info.status != "FINISHED":
            client.set_terminated(run_id, "FINISHED")
    return run_id


def _describe(client: Any, run: Any, tags: dict[str, str], params: dict[str, Any]) -> None:
    from mlflow.entities import Param, RunTag

    new_tags = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    new_params = [Param(key, str(value)) for key, value in params.items() if key not in run.data.params]
    if new_tags or new_params:
        client.log_batch(run.info.run_id, tags=new_tags, params=new_params)


def _batches(rows: list[dict[str, Any]], start_time: int) -> Iterator[list[Any]]:
    """Metrics of whole rows, about BATCH at a time. A row without a time gets the run's, so that resending is no change."""
    from mlflow.entities import Metric

    batch: list[Any] = []
    for row in rows:
        timestamp = int(1000 * row["time"]) if "time" in row else start_time
        batch += [
            Metric(key, float(value), timestamp, row["step"]) for key, value in row.items() if _is_metric(key, value)
        ]
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_metric(key: str, value: Any) -> bool:
    return key not in ("step", "time") and isinstance(value, int | float) and math.isfinite(value)
