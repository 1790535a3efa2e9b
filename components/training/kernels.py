"""What computes a model in training: other kernels than its own, for the same architecture, names and weights."""

import os
import shutil

from torch import nn

from components.errors import TrainingError
from components.recipe import TrainPhase
from components.training.attention import use_causal_blocks
from components.training.flex import can_use_flex_attention, use_flex_attention
from components.training.linear import use_onednn
from components.training.losses import plain_head
from components.training.norm import use_fused_norms
from components.training.parallel.sharded import layers_of

SHAPES = 64
"""Kinds of layers times shapes that are compiled; torch's own limit is 8."""


def use_fast_kernels(model: nn.Module, phase: TrainPhase) -> nn.Module:
    """`model`, changed in place to compute as `phase` says. Raises TrainingError."""
    use_onednn(model)
    if phase.compile and can_use_flex_attention(model, next(model.parameters()).device):
        use_flex_attention(model)
    use_causal_blocks(model)
    use_fused_norms(model)
    if phase.adapter:
        from components.training.lowrank import use_fused_adapters

        use_fused_adapters(model)
    if phase.activation_checkpointing:
        keep_layer_inputs(model)
    if phase.compile:
        compile_layers(model)
    return model


def keep_layer_inputs(model: nn.Module) -> None:
    """Let backward compute each layer of `model` again from its input (Chen et al. 2016). Raises TrainingError."""
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise TrainingError(f"activation_checkpointing is not for a {type(model).__name__}.")
    model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]


def compile_layers(model: nn.Module) -> None:
    """Compile each layer of `model` in place; like layers share what was compiled, so depth costs no warm-up.

    Each shape by itself: kernels that were made for several would depend on which of them came first, and so would the bits
    of whoever goes on from a checkpoint. Names and weights stay. Raises TrainingError where there is no C++ compiler,
    which torch needs for it.
    """
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise TrainingError(f"compile = true needs a C++ compiler: {compiler} is not installed here.")
    from torch._dynamo import config  # takes half a second

    config.recompile_limit = SHAPES  # beyond it, layers would be computed without
    for layer in layers_of(model):
        layer.compile(dynamic=False)
    if hasattr(model, "get_output_embeddings") and (head := plain_head(model)) is not None:
        head.compiled = True
