"""What training holds in the memory of one device, by kind."""

from pydantic import computed_field

from components.planning.architecture import Architecture
from components.recipe.fields import Strict

FP32, BF16 = 4, 2
LOGIT_TOKENS = 1024
"""Tokens whose logits are held at once where the loss is computed in chunks, as it is on accelerators."""


class Memory(Strict):
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    process: int
    """What is there before a model is: Python, torch, or an accelerator's context and buffers."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.process


def memory(
    shapes: Architecture,
    tokens: int,
    *,
    process: int,
    precision: str = "fp32",
    adapter_rank: int | None = None,
    checkpointing: bool = False,
    logit_tokens: int | None = None,
    devices: int = 1,
) -> Memory:
    """Memory of one of `devices` that share the state, for `tokens` tokens in one forward and backward pass.

    Weights, gradients and the two moments of AdamW are fp32; below fp32, products read a bf16 copy of the weights, and
    weights that are frozen are only that copy. Sharded state (FSDP, Zhao et al. 2023) is gathered layer by
    layer, two at a time.
    """
    mixed = precision != "fp32"
    frozen = shapes.frozen_parameters if adapter_rank is None else shapes.parameters
    trained = shapes.parameters - frozen if adapter_rank is None else shapes.adapter_parameters(adapter_rank)
    weights = trained * (FP32 + BF16 if mixed else FP32) + frozen * (BF16 if mixed else FP32)
    gathered = 2 * (BF16 if mixed else FP32) * shapes.parameters // max(1, shapes.layers) if devices > 1 else 0
    return Memory(
        weights=weights // devices + gathered,
        gradients=FP32 * trained // devices,
        optimizer=2 * FP32 * trained // devices,
        activations=activations(shapes, tokens, mixed, checkpointing, logit_tokens or tokens),
        process=process,
    )


def activations(shapes: Architecture, tokens: int, mixed: bool, checkpointing: bool, logit_tokens: int) -> int:
    """Bytes that backward keeps for `tokens` tokens in one pass.

    After Korthikanti et al. 2022 (section 4.1), with attention that keeps no scores and a gated MLP: 10 hidden and 4
    MLP widths a layer. Checkpointed (Chen et al. 2016), one hidden width a layer and the whole of one. On top, fp32
    logits, their softmax, its gradient and one temporary.
    """
    each = BF16 if mixed else FP32
    layer = 10 * shapes.hidden + 4 * shapes.mlp
    layers = shapes.layers * shapes.hidden + layer if checkpointing else shapes.layers * layer
    return each * tokens * layers + 4 * FP32 * min(tokens, logit_tokens) * shapes.vocab_size
