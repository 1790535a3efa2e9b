"""LLaVA: a decoder that reads pictures as tokens, which a projector makes of a vision tower's (Liu et al. 2023).

It is joined from two models that are there: the vision tower of a CLIP, `eyes`, and a decoder, `language`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily, put
from components.models.clip import SIZES as CLIP
from components.models.llama import SIZES as LLAMA

if TYPE_CHECKING:
    import torch
    from torch import nn

LAST, PENULTIMATE = -1, -2
OWN = 1
"""The tower's own token, which LLaVA-1.5 leaves out: a small tower keeps most of what it knows of a picture there."""
_CLIP_336 = {**CLIP["vit-l-14"]["vision_config"], "image_size": 336}
_VICUNA = {"vocab_size": 32_000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": False}


def _vicuna(hidden: int, layers: int, heads: int, mlp: int) -> dict[str, Any]:
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": mlp}
    return {**_VICUNA, **shape}


def _size(vision: dict[str, Any], text: dict[str, Any], layer: int) -> dict[str, Any]:
    return {"vision_config": vision, "text_config": text, "vision_feature_layer": layer}


SIZES: dict[str, dict[str, Any]] = {
    "debug": _size(CLIP["debug"]["vision_config"], LLAMA["debug"], LAST),
    "tiny": _size(CLIP["tiny"]["vision_config"], LLAMA["5m"], LAST),
    "7b": _size(_CLIP_336, _vicuna(4096, 32, 32, 11_008), PENULTIMATE),
    "13b": _size(_CLIP_336, _vicuna(5120, 40, 40, 13_824), PENULTIMATE),
}
"""Published: LLaVA-1.5 7B and 13B."""
TEXT = ("vocab_size", "max_position_embeddings", "eos_token_id", "pad_token_id")
"""What of a model is its decoder's."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A LlavaForConditionalGeneration with these configuration fields and fp32 weights."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = {**fields["vision_config"], **({"image_size": fields["image_size"]} if "image_size" in fields else {})}
    text = LlamaConfig(**{**fields["text_config"], **{name: fields[name] for name in TEXT if name in fields}})
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision),
        text_config=text,
        image_token_index=fields.get("image_token_id", text.vocab_size - 1),
        image_seq_length=(vision["image_size"] // vision["patch_size"]) ** 2 + OWN,
        vision_feature_layer=fields["vision_feature_layer"],
        vision_feature_select_strategy="full",
        tie_word_embeddings=text.tie_word_embeddings,
    )
    return LlavaForConditionalGeneration(config)


def join(model: "nn.Module", parts: Mapping[str, Path]) -> None:
    """Put the weights of `parts`, exports of a CLIP and of a decoder, into `model`; the projector stays as it is.

    Tokens that the decoder does not know begin as the mean of those that it does. Raises SourceError where a part has
    another shape than it has in `model`.
    """
    import torch
    from transformers import AutoModelForCausalLM, CLIPVisionModel

    local: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
    whole: Any = model
    eyes = CLIPVisionModel.from_pretrained(parts["eyes"], **local)
    put(whole.model.vision_tower, eyes.state_dict(), "eyes")
    decoder: Any = AutoModelForCausalLM.from_pretrained(parts["language"], trust_remote_code=False, **local)
    size = whole.config.text_config.vocab_size
    weights = decoder.model.state_dict()
    weights["embed_tokens.weight"] = _longer(weights["embed_tokens.weight"], size)
    put(whole.model.language_model, weights, "language")
    put(whole.lm_head, {"weight": _longer(decoder.get_output_embeddings().weight.detach(), size)}, "language")


def _longer(rows: "torch.Tensor", size: int) -> "torch.Tensor":
    import torch

    return torch.cat([rows, rows.mean(0, keepdim=True).expand(max(0, size - len(rows)), -1)])[:size]


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """Logits of a batch with pictures, (rows, time, vocabulary)."""
    found: torch.Tensor = model(input_ids=batch.input_ids, **batch.tensors).logits
    return found


FAMILY = ModelFamily(
    name="llava",
    architectures=("LlavaForConditionalGeneration",),
    sizes=SIZES,
    construct=construct,
    objectives=("visual_sft",),
    endpoints=("chat/completions",),
    engine="visual",
    outputs=outputs,
    corpus="images",
    samples="questions",
    parts=("language", "eyes"),
    join=join,
    evaluation="questions",
    pipeline="image-text-to-text",
)
