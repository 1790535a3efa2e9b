"""The precision of a phase's products. Weights, gradients and optimizer state are fp32 in all of them.

bf16 is mixed precision as Micikevicius et al. 2018 have it, with Kalamkar et al.'s (2019) format: products and what is
kept for backward in bf16, norms, softmax and losses in fp32. fp8 (Micikevicius et al. 2022) is torchao's: the products
of linear layers in 8 bits with a scale for each tensor, all else as in bf16.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.errors import TrainingError
from components.recipe import TrainPhase
from components.training.flex import is_decoder

CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls bf16 units: those of x86, and of ARM."""
HOPPER = (8, 9)
"""The compute capability from which NVIDIA's processors multiply fp8."""


def chosen(phase: TrainPhase) -> str:
    """fp32, bf16 or fp8: what `phase` asks for, with "auto" as bf16 where the hardware has units for it.

    Raises TrainingError where the hardware lacks what is asked for.
    """
    lack = lacking_bf16(phase.use_gpu)
    if phase.precision == "auto":
        return "fp32" if lack else "bf16"
    if phase.precision != "fp32" and lack:
        raise TrainingError(f'Phase {phase.name}: precision {phase.precision}: {lack}. Take "fp32", or "auto".')
    if phase.precision == "fp8" and torch.cuda.get_device_capability() < HOPPER:
        raise TrainingError(f'Phase {phase.name}: {torch.cuda.get_device_name()} has no fp8 units. Take "bf16".')
    return phase.precision


def lacking_bf16(use_gpu: bool) -> str:
    """Why bf16 would be slow on the hardware that a phase uses; empty where it is not."""
    if use_gpu:
        if not torch.cuda.is_available():
            return "use_gpu is set, and there is no GPU here"
        name = torch.cuda.get_device_name()
        return "" if torch.cuda.is_bf16_supported(including_emulation=False) else f"{name} has no bf16 units"
    return "" if CPU_FLAGS & cpu_flags() else "this processor has no bf16 units, and would take 4 to 70 times as long"


def cpu_flags() -> set[str]:
    """What the processor can do, in Linux' words; nothing on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}


def use_precision(model: nn.Module, precision: str, device: torch.device) -> nn.Module:
    """Let `model` compute in `precision`, in place; floats that it returns are fp32. Raises TrainingError."""
    if precision == "fp8":
        _use_fp8_products(model)
    if precision != "fp32":
        if device.type == "cuda":
            _carry_half(model)
        plain = model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(device.type, torch.bfloat16):
                found = plain(*args, **kwargs)
            return _as_fp32(found)

        model.forward = forward
    return model


def _carry_half(model: nn.Module) -> None:
    """Let a decoder's layers add to a bf16 stream, the values that a GPU reads and writes the most."""
    if is_decoder(model):
        embeddings: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
        embeddings.register_forward_hook(lambda module, args, found: found.to(torch.bfloat16))


def _use_fp8_products(model: nn.Module) -> None:
    try:
        from torchao.float8 import convert_to_float8_training
    except ImportError:
        raise TrainingError("precision fp8 needs torchao: pip install 'headwater[fp8]'") from None
    head = getattr(model, "get_output_embeddings", lambda: None)()
    convert_to_float8_training(model, module_filter_fn=lambda module, name: module is not head)


def _as_fp32(found: Any) -> Any:
    """`found`, a tensor or a container of transformers, with floats as fp32."""
    if isinstance(found, torch.Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, tuple):
        return tuple(map(_as_fp32, found))
    if isinstance(found, dict):
        for name, value in found.items():
            found[name] = _as_fp32(value)
    return found
