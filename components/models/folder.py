"""A model that somebody else made, as a local folder: what may be taken, and its configuration.

A folder holds config.json and safetensors, as transformers writes it, or one GGUF file with everything inside.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

from components.errors import SourceError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")
OBJECTIVES: tuple[str, ...] = ("causal_lm", "sft", "dpo")
"""What an adopted decoder can be trained for."""


@dataclass(frozen=True)
class ModelFolder:
    """Where a model lies, once it is known that it can be read without running anything."""

    path: Path
    gguf: str | None
    """The file that holds everything, where it is no transformers folder"""

    @property
    def where(self) -> dict[str, Any]:
        """The arguments by which transformers' from_pretrained finds it."""
        kept: dict[str, Any] = {"gguf_file": self.gguf} if self.gguf else {}
        return {
            "pretrained_model_name_or_path": self.path,
            "local_files_only": True,
            "trust_remote_code": False,
            **kept,
        }


def model_folder(path: Path) -> ModelFolder:
    """The model at `path`, a folder or a .gguf file.

    Raises SourceError: pickled weights, a missing shard, code of its own, no model at all.
    """
    if path.suffix == ".gguf" and path.is_file():
        return ModelFolder(path.parent, path.name)
    if not (path / "config.json").is_file():
        files = sorted(file.name for file in path.glob("*.gguf"))
        if len(files) == 1:
            return ModelFolder(path, files[0])
        several = (
            f"several .gguf files ({', '.join(files)}): name one of them"
            if files
            else "neither config.json nor a .gguf file"
        )
        raise SourceError(f"{path} is no model to start from: it holds {several}.")
    _check_weights(path)
    for file in sorted(path.glob("*.json")):
        if mentions_code(read_json(file)):
            raise SourceError(
                f"{file} has an auto_map: this model needs code that came with it, and Headwater runs no code of a model."
            )
    return ModelFolder(path, None)


def mentions_code(value: Any) -> bool:
    """Whether a JSON value asks transformers to import code from the folder it lies in."""
    return isinstance(value, dict) and ("auto_map" in value or any(mentions_code(inner) for inner in value.values()))


def read_config(model: ModelFolder) -> "PretrainedConfig":
    """The configuration of a decoder language model. Raises SourceError for any other, and for an unknown type."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config: Any = AutoConfig.from_pretrained(**model.where)
    except (OSError, ValueError, KeyError, ImportError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{model.path} has a configuration that transformers cannot read: {why}") from None
    named = (config.architectures or [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, "none")])[0]
    decodes = named.endswith(("ForCausalLM", "LMHeadModel")) and not getattr(config, "is_encoder_decoder", False)
    if not decodes or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise SourceError(f"{model.path} holds a {named} ({config.model_type}), which is no decoder language model.")
    return config


def construct(config: "PretrainedConfig") -> "nn.Module":
    """A freshly initialised fp32 model of this configuration, on the current default device."""
    import torch
    from transformers import AutoModelForCausalLM

    found: nn.Module = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    return found


def save(model: "nn.Module", processor: Path, out: Path) -> None:
    """Write `model` and what reads for it, the files and folders in `processor`, into the folder `out`."""
    model.save_pretrained(out)  # type: ignore[operator]
    for name in ("config.json", "generation_config.json"):
        if (out / name).is_file():  # what generates nothing has no settings for it
            without_version(out / name)
    copytree(processor, out, dirs_exist_ok=True)


def without_version(path: Path) -> None:
    """Drop from the JSON file `path` which version of its library wrote it, and where: neither is a property of the model."""
    content = json.loads(path.read_text())
    for name in ("transformers_version", "_diffusers_version", "_name_or_path"):
        content.pop(name, None)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _check_weights(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in shards if not (path / name).is_file()]
        if missing:
            raise SourceError(f"{path} lacks {missing[0]}, one of the {len(shards)} files that its index names.")
    elif not (path / "model.safetensors").is_file():
        pickled = sorted(file.name for kind in PICKLED for file in path.glob(kind))
        if pickled:
            raise SourceError(
                f"{path} has its weights in {pickled[0]}, which can run code when it is read: only safetensors are taken."
            )
        raise SourceError(f"{path} lacks model.safetensors: a config without weights is no model to start from.")


def read_json(file: Path) -> Any:
    """What a JSON file holds. Raises SourceError."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(f"{file} cannot be read as JSON: {error}.") from None
