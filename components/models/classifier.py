"""An encoder with a head of labels: a text is told to be of one of the sources that it was trained on (Devlin et al. 2019).

It is joined to an encoder that is there, `encoder`, a ModernBERT; the head is fresh.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily, put
from components.models.modernbert import SIZES, UNSAID

if TYPE_CHECKING:
    import torch
    from torch import nn


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A ModernBertForSequenceClassification with these configuration fields, `labels` by name, and fp32 weights."""
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    labels = fields.get("labels") or ["no", "yes"]
    rest = {name: value for name, value in fields.items() if name != "labels"}
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    config = ModernBertConfig(**{**UNSAID, **rest, **named, "classifier_pooling": "mean"})
    return ModernBertForSequenceClassification(config)


def join(model: "nn.Module", parts: Mapping[str, Path]) -> None:
    """Put the encoder in `parts` into `model`. Raises SourceError where it has another shape than in `model`."""
    import torch
    from transformers import AutoModel

    encoder: Any = AutoModel.from_pretrained(
        parts["encoder"], dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    whole: Any = model
    put(whole.model, encoder.state_dict(), "encoder")


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """How each text of a batch goes with each label, (texts, labels)."""
    found: torch.Tensor = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return found


FAMILY = ModelFamily(
    name="classifier",
    architecture="ModernBertForSequenceClassification",
    sizes=SIZES,
    construct=construct,
    objectives=("classification",),
    endpoints=("classifications",),
    engine="classifier",
    outputs=outputs,
    samples="labelled",
    parts=("encoder",),
    join=join,
    processor="wordpiece",
    evaluation="classification",
    pipeline="text-classification",
)
