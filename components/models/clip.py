"""CLIP: a tower for images and one for texts, which put partners side by side (Radford et al. 2021)."""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily

if TYPE_CHECKING:
    import torch
    from torch import nn


SMALL: dict[str, int | None] = {
    "vocab_size": 2048,
    "max_position_embeddings": 77,
    "bos_token_id": None,
    "eos_token_id": 0,  # where the text is pooled; samples say what it is
}
"""Texts of the sizes that are our own."""


def _tower(hidden: int, layers: int, heads: int, **own: int | None) -> dict[str, int | None]:
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {**shape, "intermediate_size": 4 * hidden, **own}


def _size(joint: int, text: dict[str, int | None], vision: dict[str, int | None]) -> dict[str, Any]:
    return {"projection_dim": joint, "text_config": text, "vision_config": vision}


SIZES: dict[str, dict[str, Any]] = {
    "debug": _size(
        32,
        _tower(32, 2, 2, **SMALL),
        _tower(32, 2, 2, image_size=32, patch_size=8),
    ),
    "tiny": _size(
        128,
        _tower(128, 2, 4, **SMALL),
        _tower(192, 4, 6, image_size=32, patch_size=8),
    ),
    "vit-b-32": _size(
        512,
        _tower(512, 12, 8, vocab_size=49_408, max_position_embeddings=77),
        _tower(768, 12, 12, image_size=224, patch_size=32),
    ),
    "vit-l-14": _size(
        768,
        _tower(768, 12, 12, vocab_size=49_408, max_position_embeddings=77),
        _tower(1024, 24, 16, image_size=224, patch_size=14),
    ),
}
"""Published: ViT-B/32 and ViT-L/14."""
TEXT = ("vocab_size", "max_position_embeddings", "eos_token_id", "pad_token_id")
"""What of a model is its text tower's."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A CLIPModel with these configuration fields and fp32 weights."""
    from transformers import CLIPConfig, CLIPModel

    text = {**fields["text_config"], **{name: fields[name] for name in TEXT if name in fields}}
    vision = {**fields["vision_config"], **({"image_size": fields["image_size"]} if "image_size" in fields else {})}
    joint = fields["projection_dim"]
    towers: dict[str, Any] = {
        "text_config": {**text, "projection_dim": joint},
        "vision_config": {**vision, "projection_dim": joint},
    }
    return CLIPModel(CLIPConfig(**towers, projection_dim=joint))


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """How each image of a batch goes with each of its texts, (images, texts)."""
    found: torch.Tensor = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, **batch.tensors
    ).logits_per_image
    return found


FAMILY = ModelFamily(
    name="clip",
    architectures=("CLIPModel",),
    sizes=SIZES,
    construct=construct,
    objectives=("contrastive",),
    endpoints=("embeddings", "classifications"),
    engine="towers",
    outputs=outputs,
    corpus="images",
    samples="pairs",
    processor="captions",
    evaluation="contrastive",
    pipeline="zero-shot-image-classification",
)
