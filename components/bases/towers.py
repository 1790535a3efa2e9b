"""A CLIP that somebody else made, both towers of it, as an export."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.bases.whole import check, check_vocabulary, first_line
from components.errors import SourceError
from components.models.folder import ModelFolder, read_json, without_version


def has_towers(found: ModelFolder) -> bool:
    """Whether it is a CLIP, by its config.json."""
    return not found.gguf and read_json(found.path / "config.json").get("model_type") == "clip"


def take_towers(found: ModelFolder, out: Path, read: Callable[[], None]) -> dict[str, Any]:
    """Fill `out` with a CLIP, its tokenizer and what reads images for it: what is said of it. `read` is called in between.

    Raises SourceError.
    """
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    how: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    try:
        both: Any = CLIPModel.from_pretrained(**found.where, **how)
        tokenizer: Any = AutoTokenizer.from_pretrained(**found.where)
        processor: Any = AutoImageProcessor.from_pretrained(**found.where)
    except Exception as error:  # safetensors and transformers have many words for a file that is not what it should be
        raise SourceError(f"{found.path} cannot be loaded: {first_line(error)}") from None
    model, loaded = both
    check(found.path, model, loaded)
    read()
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None or not tokenizer.is_fast:
        raise SourceError(f"The tokenizer of {found.path} lacks a token that ends a text or one that fills it.")
    text = model.config.text_config
    check_vocabulary(found.path, tokenizer, text.vocab_size)
    text.eos_token_id, text.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    tokenizer.name_or_path = ""
    for part in (model, tokenizer, processor):
        part.save_pretrained(out)
    without_version(out / "config.json")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocab_size": text.vocab_size,
        "context": text.max_position_embeddings,
    }
