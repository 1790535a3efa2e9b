"""From a folder to a model in memory: the digest first, then safetensors, and never code or pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.digests import digest, files_under, folder_content
from components.errors import StoreError
from components.models.folder import mentions_code

CODE_OR_PICKLE = {".py", ".pyc", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".so"}


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode (fp32, CPU) with its tokenizer."""

    model: Any
    tokenizer: Any
    context: int
    """Most tokens that the model attends to."""
    end_tokens: frozenset[int]
    """Those that end an answer; none for a model that writes nothing."""


def verify(folder: Path, expected: str) -> None:
    """Raise StoreError unless `folder` is the export whose digest is `expected` and holds weights and JSON only."""
    if not folder.is_dir():
        raise StoreError(f"{folder} is not there, so {expected[:8]} cannot be served.")
    found = digest(folder_content(folder, "export"))
    if found != expected:
        raise StoreError(f"{folder} has the digest {found[:8]}, expected {expected[:8]}: refused.")
    for path in files_under(folder):
        if path.suffix.lower() in CODE_OR_PICKLE:
            raise StoreError(f"{path} is code or pickle: only safetensors and JSON are served.")
        if path.suffix == ".json" and mentions_code(json.loads(path.read_bytes())):
            raise StoreError(f"{path} has an auto_map, which asks for code of its own: refused.")


def load(folder: Path, expected: str, loader: str = "AutoModelForCausalLM") -> Loaded:
    """The model of `folder` by transformers' class `loader`, after its digest has been checked. Raises StoreError."""
    verify(folder, expected)
    import torch
    import transformers

    local = {"local_files_only": True, "trust_remote_code": False}
    model = getattr(transformers, loader).from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **local)
    model.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
    settings = getattr(model, "generation_config", None)
    ends = settings.eos_token_id if settings else None
    ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    return Loaded(model, tokenizer, model.config.get_text_config().max_position_embeddings, frozenset(ends))
