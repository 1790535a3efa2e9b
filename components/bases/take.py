"""A model that somebody else made becomes an export: read without running anything, checked, written anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.artifacts import Facts, Report, SourceFiles
from components.bases.encoder import is_encoder, load_encoder
from components.bases.pipeline import is_pipeline, take_pipeline
from components.bases.towers import has_towers, take_towers
from components.bases.whole import check, check_vocabulary, first_line
from components.errors import SourceError
from components.models.folder import ModelFolder, model_folder, read_config, without_version
from components.recipe.fields import Budget, Strict


class TakeConfig(Strict):
    """Nothing about taking a model is a matter of choice."""

    budget_seconds: Budget = 60


def take(config: TakeConfig, source: SourceFiles, *, out: Path, scratch: Path, report: Report) -> Facts:
    """Fill `out` with the decoder, encoder, CLIP or pipeline of `source`: config, safetensors, tokenizer, chat template.

    Weights keep their type; those of a GGUF file become fp32. What comes out depends on the content of the source
    alone. Raises SourceError for weights that are pickled, missing, superfluous or not finite, for a model that needs
    code of its own or is none of these, and for a tokenizer that is missing or larger than the vocabulary.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()

    def tell(done: int) -> None:
        report({"done": done, "total": 2, "unit": "parts"})

    tell(0)
    facts = _taken(source, out, read=lambda: tell(1))
    tell(2)
    return facts


def _taken(source: SourceFiles, out: Path, read: Callable[[], None]) -> Facts:
    """What take returns; `read` is called when all weights have been read, and are to be written."""
    if is_pipeline(source.path):
        return take_pipeline(source.path, out, read)
    found = model_folder(source.path)
    if has_towers(found):
        return take_towers(found, out, read)
    model, tokenizer = load_encoder(found) if is_encoder(found) else _decoder(found)
    read()
    check_vocabulary(found.path, tokenizer, model.config.vocab_size)
    model.save_pretrained(out)
    tokenizer.name_or_path = source.name
    tokenizer.save_pretrained(out)
    for name in ("config.json", "generation_config.json"):
        if (out / name).is_file():
            without_version(out / name)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocab_size": model.config.vocab_size,
        "context": model.config.max_position_embeddings,
        "chat_template": bool(tokenizer.chat_template),
    }


def _decoder(found: ModelFolder) -> tuple[Any, Any]:
    """A decoder and its tokenizer. Raises SourceError."""
    read_config(found)
    tokenizer = _tokenizer(found)
    return _model(found), tokenizer


def _tokenizer(found: ModelFolder) -> Any:
    """The fast tokenizer of a model. Raises SourceError where there is none, or none that ends a text."""
    from transformers import AutoTokenizer

    if not found.gguf and not (found.path / "tokenizer.json").is_file():
        raise SourceError(f"{found.path} has no tokenizer.json: other forms of a tokenizer are not read.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(**found.where)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise SourceError(f"{found.path} has no tokenizer that can be read: {first_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise SourceError(f"The tokenizer of {found.path} has no end token, so nothing could end a text.")
    return tokenizer


def _model(found: ModelFolder) -> Any:
    """The model with all its weights and no others. Raises SourceError."""
    import torch
    from transformers import AutoModelForCausalLM

    kind: dict[str, Any] = {"dtype": torch.float32} if found.gguf else {"dtype": "auto", "use_safetensors": True}
    try:
        both: Any = AutoModelForCausalLM.from_pretrained(**found.where, **kind, output_loading_info=True)
    except Exception as error:  # safetensors and transformers have many words for a file that is not what it should be
        raise SourceError(f"{found.path} cannot be loaded: {first_line(error)}") from None
    model, loaded = both
    check(found.path, model, loaded)
    if found.gguf:
        _unquantised(model)
    return model


def _unquantised(model: Any) -> None:
    """transformers reads GGUF weights into plain ones, but goes on calling the model quantised and will not save it."""
    for owner, name in ((model.config, "quantization_config"), (model, "is_quantized"), (model, "quantization_method")):
        if name in vars(owner):
            delattr(owner, name)
    model.hf_quantizer = None
