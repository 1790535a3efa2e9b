"""The copy of an export that MLflow keeps: a LoggedModel of the transformers flavor, made once for each digest."""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.digests import canonical, file_digest, folder_content
from components.models import family_of
from components.registry.connection import DIGEST, FILES

FILE_LIST = "headwater.json"
"""Lies beside the copy: the SHA-256 of each of its files; its own is the tag headwater.files."""


def logged_model(
    client: Any,
    experiment: str,
    name: str,
    digest: str,
    export: Path,
    *,
    run_id: str,
    card: str,
    example: dict[str, str],
) -> Any:
    """The READY LoggedModel with the tag headwater.digest, uploaded from `export` if there is none.

    A kill on the way leaves one that is not READY; the next call finishes that one.
    """
    rule = f"tags.`{DIGEST}` = '{digest}' AND name = '{name}'"
    found = client.search_logged_models([experiment], rule, order_by=[{"field_name": "creation_time"}])
    ready = [model for model in found if model.status == "READY"]
    if ready:
        return ready[0]
    model = found[0] if found else client.create_logged_model(
        experiment, name=name, source_run_id=run_id, tags={DIGEST: digest}, model_type=_task(export)
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        copy = Path(folder) / "model"
        _save(model, name, digest, export, copy, card, example)
        client.set_logged_model_tags(model.model_id, {FILES: _list_files(copy)})
        client.log_model_artifacts(model.model_id, str(copy))
    return client.finalize_logged_model(model.model_id, "READY")


def _save(model: Any, name: str, digest: str, export: Path, copy: Path, card: str, example: dict[str, str]) -> None:
    import mlflow.transformers
    import transformers
    from huggingface_hub import ModelCard
    from mlflow.models import Model

    local = {"local_files_only": True, "trust_remote_code": False}
    family = family_of(export)
    if family.library == "diffusers":
        return _save_painter(model, digest, export, copy, card, example)
    weights = getattr(transformers, _architecture(export)).from_pretrained(export, use_safetensors=True, **local)
    weights.name_or_path = weights.config.name_or_path = name  # MLflow writes it down; a path means nothing elsewhere
    mlflow.transformers.save_model(
        **_flavor(weights, export, _task(export), local),
        path=str(copy),
        task=_task(export),
        mlflow_model=Model(artifact_path=model.artifact_location, model_uuid=model.model_id, model_id=model.model_id),
        metadata={DIGEST: digest},
        signature=_signature(),
        input_example=example["input"],
        model_card=ModelCard(card),
        pip_requirements=_requirements("torch", "transformers"),
    )
    if (export / "adapter").is_dir():
        shutil.copytree(export / "adapter", copy / "adapter")
    # MLflow's own file sends the reader to a repository on a hub; the licences are in the card
    (copy / "LICENSE.txt").unlink(missing_ok=True)


def _architecture(export: Path) -> str:
    named: str = json.loads((export / "config.json").read_text())["architectures"][0]
    return named


def _task(export: Path) -> str:
    """The name that transformers has for what the model does; an encoder without a head gives features."""
    family, named = family_of(export), _architecture(export)
    return "feature-extraction" if named.endswith("Model") and named != family.architectures[0] else family.pipeline


def _save_painter(model: Any, digest: str, export: Path, copy: Path, card: str, example: dict[str, str]) -> None:
    """MLflow has no flavor for diffusers: the folder of the pipeline with a few lines of code that draw with it."""
    import mlflow.pyfunc
    from mlflow.models import Model

    mlflow.pyfunc.save_model(
        path=str(copy),
        python_model=str(Path(__file__).with_name("painter.py")),
        artifacts={"pipeline": str(export)},
        mlflow_model=Model(artifact_path=model.artifact_location, model_uuid=model.model_id, model_id=model.model_id),
        metadata={DIGEST: digest},
        signature=_signature(),
        input_example=[example["input"]],
        pip_requirements=_requirements("torch", "transformers", "diffusers"),
    )
    (copy / "README.md").write_text(card)


def _requirements(*libraries: str) -> list[str]:
    return [f"{library}=={version(library).partition('+')[0]}" for library in libraries]


def _flavor(weights: Any, export: Path, task: str, local: dict[str, bool]) -> dict[str, Any]:
    """The model with what reads for it, as MLflow takes it: a processor of both kinds goes beside a pipeline of its own.

    Such a model loads with `return_type="components"`: MLflow puts no pipeline together from a processor.
    """
    import transformers
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    as_pipeline: Any = transformers.pipeline  # of its many forms none is for a task that is only known by name

    if (export / "processor_config.json").is_file():
        processor = AutoProcessor.from_pretrained(export, **local)
        return {"transformers_model": as_pipeline(task, model=weights, processor=processor), "processor": processor}
    found: dict[str, Any] = {"model": weights, "tokenizer": AutoTokenizer.from_pretrained(export, **local)}
    if (export / "preprocessor_config.json").is_file():
        found["image_processor"] = AutoImageProcessor.from_pretrained(export, **local)
    return {"transformers_model": found}


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    text = Schema([ColSpec(DataType.string)])
    return ModelSignature(inputs=text, outputs=text)


def _list_files(copy: Path) -> str:
    """Write the list of files into the copy and return the list's own SHA-256."""
    (copy / FILE_LIST).write_bytes(canonical(folder_content(copy, "copy")))
    return file_digest(copy / FILE_LIST)


def expected_files(folder: Path, files: str) -> list[tuple[Path, str]]:
    """Every file of the copy at `folder` with the SHA-256 it must have, where `files` is the one of their list."""
    listed = folder / FILE_LIST
    expected = [(listed, files)]
    if listed.is_file() and file_digest(listed) == files:
        content = json.loads(listed.read_bytes())
        expected += [(folder / path, entry["sha256"]) for path, entry in content["files"].items()]
    return expected
