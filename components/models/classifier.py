"""An encoder with a head of labels: a text is told to be of one of the sources that it was trained on (Devlin et al. 2019).

It is joined to an encoder that is there, `encoder`, a ModernBERT or a BERT; the head is fresh.
"""

from typing import TYPE_CHECKING, Any

from components.models import encoders
from components.models.base import ModelFamily

if TYPE_CHECKING:
    import torch
    from torch import nn


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A ForSequenceClassification with these configuration fields, `labels` by name, and fp32 weights."""
    labels = fields.get("labels") or ["no", "yes"]
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    return encoders.construct(fields, "SequenceClassification", **named)


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """How each text of a batch goes with each label, (texts, labels)."""
    found: torch.Tensor = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return found


FAMILY = ModelFamily(
    name="classifier",
    architectures=("ModernBertForSequenceClassification", "BertForSequenceClassification"),
    sizes=encoders.SIZES,
    construct=construct,
    objectives=("classification",),
    endpoints=("classifications",),
    engine="classifier",
    outputs=outputs,
    samples="labelled",
    parts=("encoder",),
    join=encoders.join,
    processor="wordpiece",
    evaluation="classification",
    pipeline="text-classification",
)
