"""Stable Diffusion 3: pictures by rectified flow in the latents of an autoencoder (Esser et al. 2024).

It is joined to a CLIP that is there, `clip`, whose text tower tells it what to draw; the tower of images is kept beside, to
measure what is drawn. A `pipeline` that draws by this CLIP already, alone or beside another, may be where it starts from.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import SourceError
from components.models.base import ModelFamily, cut, put
from components.models.clip import SIZES as CLIP

if TYPE_CHECKING:
    import torch
    from torch import nn


def _towers(joint: int, text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    return {"texts": {**text, "projection_dim": joint}, "pictures": {**vision, "projection_dim": joint}}


def _clip(size: str) -> dict[str, Any]:
    return _towers(CLIP[size]["projection_dim"], CLIP[size]["text_config"], CLIP[size]["vision_config"])


def _tower(hidden: int, layers: int, heads: int, mlp: int, **own: int) -> dict[str, Any]:
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {**shape, "intermediate_size": mlp, **own}


BIG_G = {
    **_tower(1280, 32, 20, 5120, vocab_size=49_408, max_position_embeddings=77, pad_token_id=0),
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
"""The text tower of OpenCLIP's ViT-bigG/14 (Cherti et al. 2022), which reads beside that of CLIP's ViT-L/14."""


def _autoencoder(widths: tuple[int, ...], channels: int, layers: int, groups: int, image_size: int) -> dict[str, Any]:
    return {
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "block_out_channels": widths,
        "layers_per_block": layers,
        "latent_channels": channels,
        "norm_num_groups": groups,
        "sample_size": image_size,
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }


def _transformer(width: int, layers: int, heads: int, channels: int, patch: int, **own: int) -> dict[str, Any]:
    return {
        "num_layers": layers,
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "caption_projection_dim": width,
        "in_channels": channels,
        "out_channels": channels,
        "patch_size": patch,
        **own,
    }


def _published(layers: int) -> dict[str, Any]:
    """Width and heads grow with the depth (Esser et al. 2024, section 5.3)."""
    wide = {"joint_attention_dim": 4096, "pooled_projection_dim": 2048, "pos_embed_max_size": 192, "sample_size": 128}
    return {
        **_clip("vit-l-14"),
        "texts_2": BIG_G,
        "autoencoder": _autoencoder((128, 256, 512, 512), 16, 2, 32, 1024),
        "transformer": _transformer(64 * layers, layers, layers, 16, 2, **wide),
    }


SIZES: dict[str, dict[str, Any]] = {
    "debug": {
        **_clip("debug"),
        "autoencoder": _autoencoder((8, 16), 4, 1, 4, 32),
        "transformer": _transformer(
            32, 2, 2, 4, 4, joint_attention_dim=64, pooled_projection_dim=64, pos_embed_max_size=16, sample_size=16
        ),
    },
    "tiny": {
        **_clip("tiny"),
        "autoencoder": _autoencoder((32, 64), 4, 1, 8, 32),
        "transformer": _transformer(
            192, 6, 6, 4, 2, joint_attention_dim=256, pooled_projection_dim=256, pos_embed_max_size=32, sample_size=16
        ),
    },
    "2b": _published(24),
    "8b": _published(38),
}
"""Published: 24 and 38 blocks deep, transformers of 2.0 and 8.1 billion parameters, told by two CLIPs and not by a T5."""
TEXT = ("vocab_size", "max_position_embeddings", "eos_token_id", "pad_token_id")
"""What of a model is its text tower's."""
NETWORKS = ("texts", "texts_2", "pictures", "autoencoder", "transformer")


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A TextToImage with these configuration fields and fp32 weights."""
    from components.diffusion.config import TextToImageConfig
    from components.diffusion.model import TextToImage

    parts: dict[str, Any] = {name: dict(fields[name]) for name in NETWORKS if name in fields}
    parts["texts"] |= {name: fields[name] for name in TEXT if name in fields}
    if "image_size" in fields:
        factor = 2 ** (len(parts["autoencoder"]["block_out_channels"]) - 1)
        parts["autoencoder"]["sample_size"] = fields["image_size"]
        parts["transformer"]["sample_size"] = fields["image_size"] // factor
    return TextToImage(TextToImageConfig(**parts))


def join(model: "nn.Module", parts: Mapping[str, Path]) -> None:
    """Put both towers of the CLIP in `parts` into `model`, which may read fewer tokens of a text than they do.

    Of a `pipeline`, if there is one, all else is put in, in its own shapes. Raises SourceError where the CLIP has another
    shape than in `model`, and where the pipeline reads texts with another.
    """
    import torch
    from transformers import CLIPModel

    whole: Any = model
    clip: Any = CLIPModel.from_pretrained(
        parts["clip"], dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    weights = clip.state_dict()
    for own, start in ((whole.text_encoder, "text"), (whole.image_encoder, "vis")):
        shapes = own.state_dict()
        taken = {name: weight for name, weight in weights.items() if name.startswith(start)}
        put(own, cut(taken, shapes) if start == "text" else taken, "clip")
    if "pipeline" in parts:
        from components.diffusion.model import TextToImage

        go_on(whole, TextToImage.from_pretrained(parts["pipeline"]))


def go_on(whole: Any, pipeline: Any) -> None:
    """Let `whole`, a TextToImage, draw as `pipeline` does, pictures of its own size. Raises SourceError."""
    import torch

    reads = cut(pipeline.text_encoder.state_dict(), whole.text_encoder.state_dict())
    ours = whole.text_encoder.state_dict()
    if any(not torch.equal(weight, reads.get(name, weight[:0])) for name, weight in ours.items()):
        raise SourceError("The part 'pipeline' reads texts with another CLIP than the part 'clip'.")
    whole.take_over(pipeline)


def like(folder: Path) -> "nn.Module":
    """A TextToImage of the shapes in an export, as those of a pipeline have no size's name.

    With its weights: the places of patches are no parameters, and tell of a size that the pipeline may have had.
    """
    import torch

    from components.diffusion.config import TextToImageConfig
    from components.diffusion.model import TextToImage

    if torch.get_default_device().type == "meta":
        return TextToImage(TextToImageConfig.from_pretrained(folder, local_files_only=True))
    found: nn.Module = TextToImage.from_pretrained(folder)
    return found


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """The velocity half way to no noise, and the pictures that the autoencoder makes of its latents, (size, numbers)."""
    import torch

    whole: Any = model
    pixels = batch.tensors["pixel_values"]
    times = torch.full((len(pixels),), 0.5)
    velocity, latents = whole(pixels, batch.input_ids, torch.zeros(len(pixels), *whole.latent_shape), times)
    pictures = whole.image_encoder(pixels).image_embeds if _same_size(whole, pixels) else pixels.flatten(1)
    return torch.cat([velocity.flatten(1), whole.decode(latents).flatten(1), pictures], dim=1)


def _same_size(model: Any, pixels: "torch.Tensor") -> bool:
    return bool(model.config.pictures["image_size"] == pixels.shape[-1])


FAMILY = ModelFamily(
    name="sd3",
    architectures=("TextToImage",),
    sizes=SIZES,
    construct=construct,
    objectives=("autoencoding", "rectified_flow"),
    endpoints=("images/generations",),
    engine="images",
    outputs=outputs,
    corpus="images",
    samples="captions",
    parts=("clip",),
    optional_parts=("pipeline",),
    join=join,
    like=like,
    processor="captions",
    evaluation="pictures",
    pipeline="text-to-image",
    library="diffusers",
)
