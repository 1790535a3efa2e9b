"""Encoders that get a head of another task: their sizes, and the class of transformers by what an encoder is."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.models import bert, modernbert
from components.models.base import cut, put

if TYPE_CHECKING:
    from torch import nn

SIZES: dict[str, dict[str, Any]] = {
    **modernbert.SIZES,
    **{f"bert-{name}": {"encoder": "bert", **fields} for name, fields in bert.SIZES.items()},
}
"""Those of ModernBERT by their names, those of BERT with `bert-` before."""
CLASSES = {"modernbert": ("ModernBertConfig", "ModernBertFor"), "bert": ("BertConfig", "BertFor")}
UNSAID = {"modernbert": {**modernbert.UNSAID, "classifier_pooling": "mean"}, "bert": {}}
"""What a size leaves open: tokens of the published tokenizer, which another one does not have."""


def construct(fields: dict[str, Any], head: str, **more: Any) -> "nn.Module":
    """The encoder of these configuration fields with the `head` that transformers calls so, and fp32 weights."""
    import transformers

    kind = fields.get("encoder", "modernbert")
    config, model = CLASSES[kind]
    rest = {name: value for name, value in fields.items() if name not in ("encoder", "labels")}
    made: nn.Module = getattr(transformers, model + head)(
        getattr(transformers, config)(**{**UNSAID[kind], **rest, **more})
    )
    return made


def join(model: "nn.Module", parts: Mapping[str, Path]) -> None:
    """Put the encoder in `parts` into `model`, which may read fewer tokens at once than it does.

    A pooler that only one of them has stays as it is. Raises SourceError where the rest has another shape than in `model`.
    """
    import torch
    from transformers import AutoModel

    encoder, found = AutoModel.from_pretrained(
        parts["encoder"],
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    whole: Any = model
    body = getattr(whole, whole.base_model_prefix)
    own = body.state_dict()
    weights = {name: weight for name, weight in encoder.state_dict().items() if name not in found["missing_keys"]}
    pooler = {name: weight for name, weight in own.items() if name.startswith("pooler.")}
    weights = {name: weight for name, weight in weights.items() if name in own or not name.startswith("pooler.")}
    put(body, cut({**pooler, **weights}, own), "encoder")
