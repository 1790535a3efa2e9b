"""An encoder that marks the answer to a question in a passage: where it begins and where it ends (Devlin et al. 2019, section 4.2).

It is joined to an encoder that is there, `encoder`, a ModernBERT or a BERT; the head is fresh.
"""

from typing import TYPE_CHECKING, Any

from components.models import encoders
from components.models.base import ModelFamily

if TYPE_CHECKING:
    import torch
    from torch import nn


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A ForQuestionAnswering with these configuration fields and fp32 weights."""
    return encoders.construct(fields, "QuestionAnswering")


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """How much each place looks like a beginning and an end, (rows, time, 2), without what stands on the padding."""
    import torch

    found = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    return torch.stack([found.start_logits, found.end_logits], dim=-1) * batch.attention_mask[..., None]


FAMILY = ModelFamily(
    name="reader",
    architectures=("ModernBertForQuestionAnswering", "BertForQuestionAnswering"),
    sizes=encoders.SIZES,
    construct=construct,
    objectives=("extraction",),
    endpoints=("answers",),
    engine="reader",
    outputs=outputs,
    samples="answers",
    parts=("encoder",),
    join=encoders.join,
    processor="wordpiece",
    evaluation="extraction",
    pipeline="feature-extraction",  # transformers 5 has no pipeline for answers any more
)
