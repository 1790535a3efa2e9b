"""Causal attention on a GPU, in layers that are compiled: FlexAttention (Dong et al. 2024), which adds up in a fixed order.

torch's FlashAttention has to be told to keep to an order in backward, and takes much longer then. What FlexAttention is
given beside q, k and v is which blocks of keys a block of queries looks at: of isolated documents, packed chats and sliding
windows the others are left out, not computed and masked.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

NAME = "flex_blocks"
LEAST_WIDTH = 16
"""Of a head, in FlexAttention's kernels."""


MORE = ("softcap", "s_aux", "position_bias")
"""What some architectures do to scores beside; transformers knows how, and for numbers of heads that are no power of two."""


def is_decoder(model: nn.Module) -> bool:
    """Whether `model` is one of transformers' that predict the next token."""
    return type(model).__name__.endswith("ForCausalLM")


def use_flex_attention(model: nn.Module) -> None:
    """Let the attention of `model`, a decoder on a GPU whose layers are compiled, be computed so in half precision."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, flex_blocks)
    AttentionMaskInterface.register(NAME, flex_mask)
    model.set_attn_implementation(NAME)  # type: ignore[operator]


def can_use_flex_attention(model: nn.Module, device: torch.device) -> bool:
    """Whether `model` is a decoder with heads that the kernels take, on a GPU."""
    config: Any = getattr(model, "config", None)
    heads = getattr(config, "num_attention_heads", None)
    decodes = is_decoder(model) and getattr(config, "_attn_implementation", None) == "sdpa"
    if device.type != "cuda" or not heads or not decodes or getattr(config, "attention_dropout", None):
        return False
    width: int = getattr(config, "head_dim", None) or config.hidden_size // heads
    return width >= LEAST_WIDTH


def flex_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: (rows, heads, time, width) to (rows, time, heads, width)."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention
    from transformers.integrations.flex_attention import flex_attention_forward
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not isinstance(attention_mask, BlockMask):
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
        return found
    query, key, value = (part.to(torch.get_autocast_dtype("cuda")) for part in (query, key, value))
    heads = query.shape[1]
    if heads & (heads - 1) or any(rest.get(name) is not None for name in MORE):
        rest = {"attention_mask": attention_mask, "scaling": scaling, **rest}
        return flex_attention_forward(module, query, key, value, **rest)[0], None
    out: Any = flex_attention(query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None


def flex_mask(*, mask_function: Callable[..., Any], q_length: int, kv_length: int, device: Any, **rest: Any) -> Any:
    """A mask function of transformers: the blocks that are looked at; as for torch's own kernel where nothing is autocast."""
    from transformers.masking_utils import causal_mask_function, flex_attention_mask, sdpa_mask

    lengths: Any = {"q_length": q_length, "kv_length": kv_length}
    if not torch.is_autocast_enabled("cuda"):
        return sdpa_mask(mask_function=mask_function, device=device, **lengths, **rest)
    if mask_function is causal_mask_function and rest.get("attention_mask") is None and q_length == kv_length:
        return _causal(q_length, torch.device(device))
    return flex_attention_mask(mask_function=mask_function, device=device, **lengths, **rest)


@cache
def _causal(length: int, device: torch.device) -> Any:
    """The blocks of a causal mask, the same for all rows and heads."""
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(_looks_back, None, None, length, length, device=device)


def _looks_back(row: Any, head: Any, query: Any, key: Any) -> Any:
    return key <= query
