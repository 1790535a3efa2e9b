"""How a mixture of experts spreads held-out text over its experts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.scoring import Floats, windows

TOKENS = 2**15
"""As many held-out tokens are looked at, at most."""


def expert_shares(model: Any, documents: Sequence[NDArray[np.int64]], *, context: int) -> Floats | None:
    """The share of the choices that fell on each expert, as a multiple of its fair share, float64 (layers, experts).

    1 everywhere is perfect balance. None for a model without experts.
    """
    experts = getattr(model.config, "num_local_experts", None)
    if not experts:
        return None
    import torch

    counts: Floats = np.zeros((model.config.num_hidden_layers, experts))
    seen = 0
    for number, ids in enumerate(documents):
        for window in windows(number, len(ids), context):
            read = torch.from_numpy(ids[window.begin : window.end])[None]
            with torch.inference_mode():
                logits = model(input_ids=read, use_cache=False, output_router_logits=True).router_logits
            new = [layer[window.first - window.begin :] for layer in logits]
            chosen = [layer.topk(model.config.num_experts_per_tok, dim=-1).indices.flatten() for layer in new]
            counts += np.stack([np.bincount(layer.numpy(), minlength=experts) for layer in chosen])
        seen += len(ids)
        if seen >= TOKENS:
            break
    return counts / counts.sum(1, keepdims=True) * experts
