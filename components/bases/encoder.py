"""An encoder that somebody else made, without the head it may have had, as an export."""

from typing import Any

from components.bases.whole import check, first_line
from components.errors import SourceError
from components.models.encoders import CLASSES
from components.models.folder import ModelFolder, read_json


def is_encoder(found: ModelFolder) -> bool:
    """Whether it is an encoder, by its config.json, and one that can get a head here."""
    if found.gguf:
        return False
    config: dict[str, Any] = read_json(found.path / "config.json")
    return config.get("model_type") in CLASSES and not config.get("is_decoder")


def load_encoder(found: ModelFolder) -> tuple[Any, Any]:
    """The encoder and its tokenizer. Raises SourceError for weights that are missing or not finite, and for no tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    how: dict[str, Any] = {**found.where, "dtype": "auto", "use_safetensors": True, "output_loading_info": True}
    try:
        model, loaded = AutoModel.from_pretrained(**how)
        if loaded["missing_keys"] and all(name.startswith("pooler.") for name in loaded["missing_keys"]):
            model, loaded = AutoModel.from_pretrained(**how, add_pooling_layer=False)
        tokenizer: Any = AutoTokenizer.from_pretrained(**found.where)
    except Exception as error:  # safetensors and transformers have many words for a file that is not what it should be
        raise SourceError(f"{found.path} cannot be loaded: {first_line(error)}") from None
    loaded = {**loaded, "unexpected_keys": ()}  # the head, which is left behind
    check(found.path, model, loaded)
    if tokenizer.sep_token_id is None or tokenizer.pad_token_id is None or not tokenizer.is_fast:
        raise SourceError(
            f"The tokenizer of {found.path} lacks a token that separates or one that fills, or tokenizer.json."
        )
    return model, tokenizer
