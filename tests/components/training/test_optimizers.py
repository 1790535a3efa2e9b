"""Muon: torch's own, the singular values it leaves, and its state in a checkpoint."""

import pytest
import torch
from torch import nn

from components.recipe import TrainPhase
from components.training.arithmetic import exact_arithmetic
from components.training.config import Job
from components.training.flat import FlatModel
from components.training.group import Group
from components.training.loop import Loop
from components.training.model import fresh_model
from components.training.optimizers import hidden_matrices, make_optimizer, orthogonalised

ALONE = Group(0, 1)


def evened(values):
    """Jordan et al.'s quintic on singular values themselves."""
    x = values / values.norm()
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)])
def test_orthogonalised_keeps_the_singular_vectors_and_evens_the_values(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    inner = left.T @ found @ right.T
    assert (inner - inner.diag().diag()).abs().max() < 1e-10
    assert inner.diag().min() > 0.5
    assert inner.diag().max() < 1.25
    assert torch.allclose(inner.diag(), evened(values), atol=1e-10)
    assert (orthogonalised(matrix.float()) - found).abs().max() < 1e-4


def test_hidden_matrices_are_without_embedding_and_output(configure, samples):
    model = fresh_model(configure(), samples)
    hidden = {id(p) for p in hidden_matrices(model)}
    beside = [name for name, p in model.named_parameters() if id(p) not in hidden]
    assert len(hidden) == 2 * 7
    assert [name for name in beside if "norm" not in name] == ["model.embed_tokens.weight"]
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())
    assert {id(p) for p in hidden_matrices(model)} == hidden


def test_muon_is_that_of_torch():
    """The same matrix and gradients; torch's Newton-Schulz is in bf16, hence the tolerance."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 24, bias=False)
    theirs = nn.Parameter(layer.weight.detach().clone())
    phase = TrainPhase(name="p", epochs=1, optimizer="muon", learning_rate=0.01)
    flat = FlatModel(layer, num_sums=0)
    ours = make_optimizer(phase, flat, layer)
    torchs = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        before = theirs.detach().clone()
        theirs.grad = torch.randn(24, 64)
        layer.weight.grad.copy_(theirs.grad)
        ours.step()
        torchs.step()
        assert (layer.weight - theirs).norm() < 0.03 * (theirs - before).norm()


def test_muon_and_adamw_share_a_model(configure, samples, tmp_path):
    """The reference: float64 SVDs for the hidden matrices and torch's AdamW for the rest, over the model's own loss."""
    config = configure(optimizer="muon", learning_rate=0.01)
    loop = Loop(Job(config, samples, None, tmp_path), ALONE)
    model = fresh_model(config, samples).double()
    hidden = hidden_matrices(model)
    others = [p for p in model.parameters() if not any(p is h for h in hidden)]
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    rest = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    momenta = [torch.zeros_like(p) for p in hidden]
    for step in range(3):
        rate = loop.step(step)["learning_rate"]
        batch = loop.loader.batch(step)
        model.zero_grad()
        logits = model(input_ids=batch.input_ids).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in rest.param_groups:
            group["lr"] = rate
        rest.step()
        with torch.no_grad():
            for parameter, momentum in zip(hidden, momenta, strict=True):
                momentum.mul_(0.95).add_(parameter.grad, alpha=0.05)
                left, values, right = torch.linalg.svd(0.05 * parameter.grad + 0.95 * momentum, full_matrices=False)
                update = left @ evened(values).diag() @ right * 0.2 * max(parameter.shape) ** 0.5
                parameter.mul_(1 - rate * 0.1).sub_(rate * update)
    start = fresh_model(config, samples)
    for ours, theirs, was in zip(loop.model.parameters(), model.parameters(), start.parameters(), strict=True):
        assert (ours - theirs).norm() < 0.01 * (theirs - was).norm()


def test_muon_resumes_with_the_same_bits(configure, samples, tmp_path):
    config = configure(optimizer="muon", schedule="wsd", num_workers=0)
    with exact_arithmetic(1):
        whole = Loop(Job(config, samples, None, tmp_path / "whole"), ALONE)
        for step in range(6):
            whole.step(step)
        first = Loop(Job(config, samples, None, tmp_path / "cut"), ALONE)
        for step in range(3):
            first.step(step)
        with first.record() as record:
            first.save(record, 3)
        second = Loop(Job(config, samples, None, tmp_path / "cut"), ALONE)
        with second.record() as record:
            assert second.resume(record) == 3
        for step in range(3, 6):
            second.step(step)
    assert torch.equal(second.parallel.flat.values, whole.parallel.flat.values)
    assert torch.equal(second.parallel.flat.exp_avg, whole.parallel.flat.exp_avg)
