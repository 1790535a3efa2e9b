"""Tensor parallelism for decoders of the Llama kind (Shoeybi et al. 2019, "Megatron-LM", section 3).

Each worker has some of the heads and a part of the MLP's width: the first matrices of both are cut by columns, the
last by rows, so that a layer needs two all-reduces forward and two backward. Norms and embeddings are on every worker.
"""

from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from components.errors import TrainingError

COLUMNS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
ROWS = ("self_attn.o_proj", "mlp.down_proj")


def divide_layers(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divide every decoder layer of `model` over the workers of `mesh`, in place. Raises TrainingError."""
    config: Any = model.config
    for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
        number = getattr(config, name)
        if number % mesh.size():
            raise TrainingError(f"tensor_parallel {mesh.size()} does not divide {name} {number}.")
    decoder: Any = model.model
    for layer in decoder.layers:
        plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in COLUMNS}
        parallelize_module(layer, mesh, plan | {name: RowwiseParallel() for name in ROWS})
