"""Causal attention on a CPU as products of blocks, in place of torch's fused kernel, which reaches a third of their speed.

Each block of queries meets the keys up to its own end, so that half of the products, which a causal mask would throw
away, are never made. It is exact: softmax over all keys of a query, nothing is approximated. transformers takes it as an
attention function (`AttentionInterface`), so that the architecture stays its own.
"""

from typing import Any

import torch
from torch import nn

NAME = "causal_blocks"
BLOCK = 128
"""Queries in a block; 64 to 256 take the same time to 15%."""


class _CausalBlocks(torch.autograd.Function):
    """softmax(scale q k^T) v of the keys up to each query's place, (rows, key heads, queries per key head, time, width)."""

    @staticmethod
    def forward(ctx, q, k, v, scale, mask):  # type: ignore[no-untyped-def]
        rows, heads, group, time, width = q.shape
        out, kept = torch.empty_like(q, memory_format=torch.contiguous_format), []
        k, v = (part.reshape(rows * heads, time, width) for part in (k, v))
        for start, end in _blocks(time):
            queries = (q[:, :, :, start:end] * scale).reshape(rows * heads, group * (end - start), width)
            scores = torch.bmm(queries, k[:, :end].transpose(1, 2)).view(rows * heads, group, end - start, end)
            if mask is not None:
                scores = _masked(scores, mask[:, :, start:end, :end])
            causal_softmax(scores)
            weights = scores.view(rows * heads, group * (end - start), end)
            found = torch.bmm(weights, v[:, :end])
            out[:, :, :, start:end] = found.view(rows, heads, group, end - start, width)
            kept.append(weights)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        q, k, v, *kept = ctx.saved_tensors
        rows, heads, group, time, width = q.shape
        for_q = torch.empty_like(q, memory_format=torch.contiguous_format)
        for_k, for_v = torch.zeros_like(k), torch.zeros_like(v)
        for weights, (start, end) in zip(kept, _blocks(time), strict=True):
            shape = (rows * heads, group * (end - start), -1)
            given = gradient[:, :, :, start:end].reshape(shape)
            for_v[:, :end].baddbmm_(weights.transpose(1, 2), given)
            scores = torch.bmm(given, v[:, :end].transpose(1, 2))
            scores = torch._softmax_backward_data(scores, weights, -1, scores.dtype)  # its sums are fp32 in bf16 too
            for_q[:, :, :, start:end] = torch.bmm(scores, k[:, :end]).view(rows, heads, group, end - start, width)
            queries = q[:, :, :, start:end].reshape(shape)
            for_k[:, :end].baddbmm_(scores.transpose(1, 2), queries, alpha=ctx.scale)
        for_k, for_v = (part.view(rows, heads, time, width) for part in (for_k, for_v))
        return for_q.mul_(ctx.scale), for_k, for_v, None, None


@torch.library.custom_op("headwater::causal_softmax", mutates_args=("scores",))
def causal_softmax(scores: torch.Tensor) -> None:
    """Softmax over the keys of the last queries, (..., queries, keys), in place, each up to its own place.

    An operator of its own, which a compiler leaves as it is: what torch generates for it takes three times as long.
    """
    queries = scores.shape[-2]
    scores[..., -queries:] += scores.new_full((queries, queries), float("-inf")).triu_(1)
    torch._softmax(scores, -1, False, out=scores)


@causal_softmax.register_fake
def _(scores: torch.Tensor) -> None:
    return None


def _masked(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scores (rows * heads, ...) that are lowest where `mask` (rows, 1, queries, keys) is False."""
    by_row = scores.view(len(mask), -1, *scores.shape[-2:])
    return by_row.masked_fill_(~mask, torch.finfo(scores.dtype).min).view_as(scores)


def _blocks(time: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, time)) for start in range(0, time, BLOCK)]


def causal_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: (rows, heads, time, width) to (rows, time, heads, width).

    A mask (bool, True where a query may look, as of isolated documents, packed chats and padding) is honoured. What is
    not causal attention of a row with itself (a cache, dropout, a mask that looks ahead) is left to transformers' own
    function for torch's kernel.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    is_causal = rest.get("is_causal")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    same = query.shape[2] == key.shape[2] and key.shape[-1] == value.shape[-1]
    special = dropout or rest.get("position_bias") is not None or rest.get("softcap") is not None
    if query.device.type != "cpu" or special or not causal or not same or not _is_causal(attention_mask):
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
        return found
    rows, heads, time, width = query.shape
    if torch.is_autocast_enabled("cpu"):  # as torch's own kernel does
        query, key, value = (part.to(torch.get_autocast_dtype("cpu")) for part in (query, key, value))
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], time, width)
    scale = width**-0.5 if scaling is None else scaling
    out = _CausalBlocks.apply(grouped, key, value, scale, attention_mask)
    return out.view(rows, heads, time, width).transpose(1, 2).contiguous(), None


def _is_causal(mask: torch.Tensor | None) -> bool:
    """Whether `mask` (rows, 1, time, time) lets no query look ahead."""
    return mask is None or (mask.dtype == torch.bool and mask.shape[1] == 1 and not bool(mask.triu(1).any()))


def use_causal_blocks(model: nn.Module) -> None:
    """Let the attention of `model` be computed so, where it uses torch's kernel now."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    config = getattr(model, "config", None)
    if getattr(config, "_attn_implementation", None) != "sdpa":
        return
    AttentionInterface.register(NAME, causal_blocks)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)  # type: ignore[operator]
