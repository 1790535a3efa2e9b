"""A model as the plan sees it: its shapes, read off the meta device, so that nothing is allocated."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.models import family
from components.models.base import active_parameters
from components.models.folder import construct, model_folder, read_config
from components.recipe.fields import Strict

if TYPE_CHECKING:
    from torch import nn


class Architecture(Strict):
    """The shapes of a decoder. Widths in elements."""

    parameters: int
    active_parameters: int
    layers: int
    hidden: int
    attention: int
    """Width of all query heads together."""
    mlp: int
    """Width of the MLP, over all experts that work on a token."""
    vocab_size: int
    patches: int = 0
    """Pieces of an image, which count as its tokens; 0 for a model of text."""
    frozen_parameters: int = 0
    """Of all, those that a phase leaves as they are."""
    active_frozen_parameters: int = 0
    """Of these, those that work on a token."""
    linears: tuple[tuple[int, int], ...]
    """(in, out) of every linear layer but the output projection: what an adapter of all linear layers sits on."""

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA at `rank` on all linear layers: A and B of each (Hu et al. 2021)."""
        return sum(rank * (width_in + width_out) for width_in, width_out in self.linears)


def architecture(name: str, size: str, vocab_size: int | None = None, freeze: Sequence[str] = ()) -> Architecture:
    """The shapes of `size` of the family `name`, where weights whose names begin with one of `freeze` are not trained.

    Raises UnknownName.
    """
    return shapes(family(name).on_meta(size, vocab_size), freeze)


def folder_architecture(folder: Path, freeze: Sequence[str] = ()) -> Architecture:
    """The same of an existing model in a local folder. Raises SourceError where it cannot be used."""
    import torch

    config = read_config(model_folder(folder))
    with torch.device("meta"):
        return shapes(construct(config), freeze)


def _first(config: object, *names: str) -> int | None:
    return next((found for name in names if (found := getattr(config, name, None))), None)


def _larger_tower(config: Any) -> tuple[Any, int]:
    """The configuration that says most about the work, and the patches of an image where that is a vision tower's."""
    if getattr(config, "vision_config", None) is None:
        return config, getattr(config, "num_pieces", 0)
    text, vision = config.text_config, config.vision_config
    text_work, vision_work = (c.num_hidden_layers * c.hidden_size**2 for c in (text, vision))
    return (text, 0) if text_work > vision_work else (vision, (vision.image_size // vision.patch_size) ** 2 + 1)


def shapes(model: "nn.Module", freeze: Sequence[str] = ()) -> Architecture:
    """The shapes of a transformers model. Layers are those of encoder and decoder together, where it has both.

    Of a model with a vision tower, layers and widths are those of the larger of its two towers.
    """
    from torch import nn
    from transformers import PretrainedConfig

    config = model.config
    assert isinstance(config, PretrainedConfig)
    frozen = {name: p.numel() for name, p in model.named_parameters() if name.startswith(tuple(freeze))}
    config, patches = _larger_tower(config)
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    decoder_layers = config.num_decoder_layers if config.is_encoder_decoder else 0
    experts = getattr(config, "num_experts_per_tok", None) or 1
    linears = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and not name.endswith("lm_head")]
    return Architecture(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        active_parameters=active_parameters(model),
        layers=config.num_hidden_layers + decoder_layers,
        hidden=config.hidden_size,
        attention=heads * head,
        mlp=experts * (_first(config, "intermediate_size", "d_ff") or 4 * config.hidden_size),
        vocab_size=getattr(config, "vocab_size", None) or 0,
        patches=patches,
        frozen_parameters=sum(frozen.values()),
        active_frozen_parameters=active_parameters(model, frozen),
        linears=tuple((linear.in_features, linear.out_features) for linear in linears),
    )
