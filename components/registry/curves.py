"""Learning curves: one MLflow run for each training step, however often it is mirrored."""

import math
import time
from typing import Any

from components.registry.connection import experiment_id, mlflow_client, run_by_identity

BATCH = 1000
"""Most metrics that MLflow takes in one call."""


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
    with mlflow_client() as client:
        run = run_by_identity(client, experiment_id(client, experiment), run_name, step_identity, tags)
        run_id = run.info.run_id
        _describe(client, run, tags, params)
        metrics = _metrics([row for row in rows if row["step"] > _last_step(client, run)])
        for start in range(0, len(metrics), BATCH):
            client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        if finished and run.info.status != "FINISHED":
            client.set_terminated(run_id, "FINISHED")
    return run_id


def _describe(client: Any, run: Any, tags: dict[str, str], params: dict[str, Any]) -> None:
    from mlflow.entities import Param, RunTag

    new_tags = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    new_params = [Param(key, str(value)) for key, value in params.items() if key not in run.data.params]
    if new_tags or new_params:
        client.log_batch(run.info.run_id, tags=new_tags, params=new_params)


def _last_step(client: Any, run: Any) -> int:
    """The last step of which every metric has arrived: the least over the metrics, as a batch may have been cut."""
    histories = (client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return min((max(metric.step for metric in history) for history in histories), default=-1)


def _metrics(rows: list[dict[str, Any]]) -> list[Any]:
    from mlflow.entities import Metric

    now = time.time()
    return [
        Metric(key, float(value), int(1000 * row.get("time", now)), row["step"])
        for row in rows
        for key, value in row.items()
        if key not in ("step", "time") and isinstance(value, int | float) and math.isfinite(value)
    ]
