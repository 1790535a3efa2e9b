"""The model that a phase starts from: fresh, or with the weights of an earlier export."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.artifacts import Export, Samples
from components.errors import TrainingError
from components.models import family
from components.models.folder import construct, model_folder, read_config
from components.training.adapters import adapted, trained
from components.training.config import Job, TrainConfig


def fresh_model(config: TrainConfig, samples: Samples, init: Export | None = None) -> nn.Module:
    """The phase's model for the vocabulary and context of `samples`, initialised from the phase's seed.

    Without a size, its architecture is that of `init`; with parts that bring their own shapes too.
    """
    described = samples.json("samples.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.phase.seed)
        if config.size is None:
            assert init is not None, "what has no size of its own starts from a base"
            return construct(read_config(model_folder(init.path)))
        kind = family(config.family)
        if kind.like and init is not None:
            return kind.like(init.path)
        return kind.build(config.size, **kind.described(described))


def initial_model(job: Job) -> nn.Module:
    """The model before the first step of `job`. Raises TrainingError where the export is of another shape."""
    model = fresh_model(job.config, job.samples, job.init)
    if job.init is not None:
        put_weights(model, exported_weights(job.init.path, type(model)), str(job.init.path))
    return frozen(adapted(model, job.config.phase), job.config.phase.freeze)


def frozen(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """`model`, in which no weight whose name begins with one of `names` is trained. Raises TrainingError."""
    for start in names:
        found = [parameter for name, parameter in model.named_parameters() if name.startswith(start)]
        if not found:
            known = sorted({".".join(name.split(".")[:2]) for name, _ in model.named_parameters()})
            raise TrainingError(f"freeze: no weight begins with {start!r}. Known: {', '.join(known)}.")
        for parameter in found:
            parameter.requires_grad_(False)
    if not trained(model):
        raise TrainingError(f"freeze = {list(names)} leaves no weight to train.")
    return model


def exported_weights(folder: Path, architecture: type[nn.Module]) -> dict[str, torch.Tensor]:
    """The weights of a Hugging Face folder, named as `architecture` names them; raises TrainingError.

    transformers reads the folder, as names in it are not always those of the module: experts are kept one by one there.
    """
    from transformers import PreTrainedModel
    from transformers.utils import logging

    assert issubclass(architecture, PreTrainedModel)
    if not list(folder.rglob("*.safetensors")):
        raise TrainingError(f"{folder} has no .safetensors file to start from.")
    logging.disable_progress_bar()
    loaded: Any = architecture.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    model, found = loaded
    if odd := sorted({*found["missing_keys"], *found["unexpected_keys"]}):
        raise TrainingError(f"The weights in {folder} are of another architecture: {', '.join(odd[:3])} differ.")
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def put_weights(model: nn.Module, weights: dict[str, torch.Tensor], where: str) -> None:
    """Copy `weights` into `model`: exactly the parameters it trains, shared ones once. Raises TrainingError."""
    check_shapes(model, {name: tuple(tensor.shape) for name, tensor in weights.items()}, where)
    with torch.no_grad():
        for name, parameter in trained(model).items():
            parameter.copy_(weights[name])


def check_shapes(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse weights of such `shapes` where they are not exactly what `model` trains. Raises TrainingError."""
    parameters = trained(model)
    if shapes.keys() != parameters.keys():
        odd = sorted(shapes.keys() ^ parameters.keys())
        raise TrainingError(f"The weights in {where} are of another architecture: {', '.join(odd[:3])} differ.")
    for name, parameter in parameters.items():
        if shapes[name] != parameter.shape:
            raise TrainingError(f"{name} in {where} has the shape {shapes[name]}, here {tuple(parameter.shape)}.")
