"""What a mixture of experts asks of its router beside the objective: balance between the experts, and small logits."""

from collections.abc import Sequence
from typing import Any

import torch


def has_experts(config: Any) -> bool:
    """Whether a model of this configuration sends tokens to experts whose use has to be balanced."""
    return bool(getattr(config, "router_aux_loss_coef", 0) and getattr(config, "num_local_experts", 0))


def router_loss(config: Any, logits: Sequence[torch.Tensor], counted: torch.Tensor) -> torch.Tensor:
    """The losses of the routers, weighted as the configuration says and averaged over the layers: a scalar.

    `logits` holds fp (tokens, experts) for each layer and `counted` bool (tokens,), which leaves padding out. Balance
    is Fedus et al. 2022 ("Switch Transformers", equation 4): the number of experts times the sum over them of the share
    of the choices that fell on one, and its mean probability; 1 where all are used alike. The z-loss is Zoph et al.
    2022 ("ST-MoE", equation 5): the mean square of the logarithm of the softmax's normaliser.
    """
    balance = z_loss = counted.new_zeros((), dtype=torch.float32)
    for layer in logits:
        scores = layer.float()[counted]
        chosen = scores.topk(config.num_experts_per_tok, dim=-1).indices.flatten()
        shares = torch.bincount(chosen, minlength=scores.shape[-1]) / len(chosen)
        balance = balance + scores.shape[-1] * (shares * scores.softmax(-1).mean(0)).sum()
        z_loss = z_loss + scores.logsumexp(-1).square().mean()
    weighted = config.router_aux_loss_coef * balance + getattr(config, "router_z_loss_coef", 0.0) * z_loss
    return weighted / len(logits)
