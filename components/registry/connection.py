"""MLflow's client, its errors in our words, and what is looked up by a tag of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from components.errors import ServiceError

IDENTITY = "headwater.identity"
DIGEST = "headwater.digest"
FILES = "headwater.files"


@contextmanager
def mlflow_client() -> Iterator[Any]:
    """An MlflowClient; what MLflow raises inside becomes a ServiceError of one line."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        yield MlflowClient()
    except MlflowException as error:
        raise ServiceError(f"MLflow: {str(error).splitlines()[0][:300]}") from error


def create_unless_there(create: Callable[[], Any]) -> None:
    """Call `create`, and be content if another process has been quicker."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise


def experiment_id(client: Any, name: str) -> str:
    """The id of the experiment `name`, which is created if it is missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        create_unless_there(lambda: client.create_experiment(name))
        found = client.get_experiment_by_name(name)
    return found.experiment_id


def run_by_identity(client: Any, experiment: str, name: str, identity: str, tags: dict[str, str]) -> Any:
    """The oldest run of the experiment with that identity, created with its tags at once if there is none."""

    def search() -> list[Any]:
        rule = f"tags.`{IDENTITY}` = '{identity}'"
        return client.search_runs([experiment], rule, order_by=["attributes.start_time ASC"], max_results=1)

    found = search()
    if not found:
        client.create_run(experiment, run_name=name, tags={**tags, IDENTITY: identity})
        found = search()
    return found[0]
