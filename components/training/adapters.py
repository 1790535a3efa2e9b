"""Low-rank adapters (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"), by way of peft.

The weights of the base stay as they are; beside every linear layer but the output projection stands a product B A of
rank r, scaled by alpha / r, and A and B alone are trained, kept in checkpoints and given to the optimizer.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

from components.artifacts import Export
from components.digests import digest, folder_content
from components.errors import TrainingError
from components.recipe import Adapter, TrainPhase

if TYPE_CHECKING:
    from peft import LoraConfig

TOLERANCE = 1e-4
"""How far merging may move the logits, as a part of the largest: fp32 adds B A to the weights in another order."""
FOLDER = "adapter"
"""Where an export keeps the adapter that was merged into it, as peft writes it."""


def adapted(model: nn.Module, phase: TrainPhase) -> nn.Module:
    """`model` with the adapter of `phase`, drawn from its seed, as all that has gradients; without one as it is."""
    if phase.adapter is None:
        return model
    from peft import inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(phase.seed)
        inject_adapter_in_model(_config(phase.adapter), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)
    return model


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a phase trains, by name: all, or those of its adapter."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_adapter(model: nn.Module, adapter: Adapter, base: Export, out: Path) -> None:
    """Write the adapter of `model` into `out` as peft loads it; its config names `base` by its digest."""
    from peft import get_peft_model_state_dict

    folder = out / FOLDER
    config = _config(adapter)
    config.base_model_name_or_path = digest(folder_content(base.path, "export"))
    config.inference_mode = True
    config.save_pretrained(str(folder))
    content = json.loads((folder / "adapter_config.json").read_text())
    content.pop("peft_version", None)  # a property of the library
    (folder / "adapter_config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    weights = {f"base_model.model.{name}": tensor for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def merge(model: nn.Module, outputs: Callable[[nn.Module], torch.Tensor]) -> None:
    """Add the adapter of `model` to its weights and take it away.

    `outputs` gives what is compared before and after, logits. Raises TrainingError where they differ by more than TOLERANCE.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    with torch.no_grad():
        before = outputs(model)
        layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)}
        for layer in layers.values():
            layer.merge(safe_merge=True)
        for name, layer in layers.items():
            if not any(name.startswith(f"{around}.") for around in layers):  # experts have one around another
                model.set_submodule(name, layer.get_base_layer())
        moved = float((outputs(model) - before).abs().max() / before.abs().max())
    del model.peft_config
    if not moved <= TOLERANCE:
        raise TrainingError(f"Merging the adapter moves the logits by {moved:.1e} of the largest: not exported.")


def _config(adapter: Adapter) -> "LoraConfig":
    from peft import LoraConfig

    return LoraConfig(
        r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
