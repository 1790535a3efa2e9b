"""Optimizers over a flat model: their state lies in its vectors, so that a checkpoint is the same for each of them."""

import torch
from torch import nn

from components.recipe import TrainPhase
from components.training.flat import FlatModel, place

BETAS, EPSILON = (0.9, 0.95), 1e-8
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Jordan et al.'s quintic: it takes singular values to between 0.7 and 1.2 in few steps, and never exactly to 1."""
NEWTON_SCHULZ_STEPS = 5


def make_optimizer(phase: TrainPhase, flat: FlatModel, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that `phase` names, over the parameters of `model` that `flat` holds."""
    hidden = hidden_matrices(model) if phase.optimizer == "muon" else []
    if not hidden:
        return adamw(flat, [slice(0, flat.num_decayed)], phase)
    rest = adamw(flat, _places_beside(flat, model, hidden), phase)
    return Muon(flat, hidden, phase, rest)


def adamw(flat: FlatModel, decayed: list[slice], phase: TrainPhase) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over the places `decayed` of the vectors and over the part without decay."""
    groups = []
    state: dict[torch.Tensor, dict[str, torch.Tensor]] = {}
    for places, decay in ((decayed, phase.weight_decay), ([slice(flat.num_decayed, flat.size)], 0.0)):
        parameters = []
        for here in places:
            parameter = nn.Parameter(flat.values[here])
            parameter.grad = flat.reduced[here]
            state[parameter] = {
                "step": torch.zeros((), device=flat.values.device),
                "exp_avg": flat.exp_avg[here],
                "exp_avg_sq": flat.exp_avg_sq[here],
            }
            parameters.append(parameter)
        groups.append({"params": parameters, "weight_decay": decay})
    optimizer = torch.optim.AdamW(groups, lr=phase.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
    optimizer.state.update(state)
    return optimizer


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the matrices of hidden layers, AdamW for everything else.

    The step is the orthogonalised momentum times 0.2 sqrt(longer side), whose root mean square is that of an AdamW
    step: so both share the learning rate and the weight decay (Liu et al. 2025, "Muon is Scalable for LLM Training").
    The momentum lies in `exp_avg`; `exp_avg_sq` stays zero where Muon works.
    """

    def __init__(
        self, flat: FlatModel, matrices: list[nn.Parameter], phase: TrainPhase, rest: torch.optim.AdamW
    ) -> None:
        self._rest = rest
        self._momenta = [flat.exp_avg[place(p)].view_as(p) for p in matrices]
        super().__init__(matrices, {"lr": phase.learning_rate, "weight_decay": phase.weight_decay})
        self.param_groups += rest.param_groups  # the same objects: a rate that is set here is AdamW's as well
        self.state = rest.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every parameter."""
        self._rest.step()
        group = self.param_groups[0]
        for parameter, momentum in zip(group["params"], self._momenta, strict=True):
            momentum.lerp_(parameter.grad, 1 - MOMENTUM)
            update = orthogonalised(parameter.grad.lerp(momentum, MOMENTUM))  # Nesterov's
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-0.2 * group["lr"] * max(parameter.shape) ** 0.5)


def orthogonalised(matrix: torch.Tensor, steps: int = NEWTON_SCHULZ_STEPS) -> torch.Tensor:
    """Newton-Schulz towards the orthogonal factor of a (rows, columns) matrix, in its own dtype."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear layers, without the one that gives the logits."""
    from transformers import PreTrainedModel

    outputs = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    shared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not outputs]
    weights = [weight for module in linear if isinstance(weight := module.weight, nn.Parameter)]
    return [weight for weight in weights if weight.requires_grad and id(weight) not in shared]


def _places_beside(flat: FlatModel, model: nn.Module, hidden: list[nn.Parameter]) -> list[slice]:
    """Where the decayed parameters lie that are not `hidden`."""
    taken = {id(p) for p in hidden}
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    return [place(p) for p in matrices if id(p) not in taken]
