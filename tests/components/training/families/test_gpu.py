"""What every family promises holds on a GPU as well; these tests run where there is one."""

import pytest
import torch

from components.digests import folder_content
from components.models import families, family
from components.training.arithmetic import exact_arithmetic
from components.training.config import Job
from components.training.group import Group
from components.training.loop import Loop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

GPU = Group(0, 1, device=torch.device("cuda", 0))


def first_step(job, group):
    """The gradient of the first batch, on the CPU, and the loss."""
    with exact_arithmetic(1):
        loop = Loop(job, group)
        sums = loop.reduce(0)
    return loop.parallel.flat.gradients.cpu(), sums.loss / sums.num_targets


def gradients(job, group):
    """Those of the parameters, by name, and the loss."""
    with exact_arithmetic(1):
        loop = Loop(job, group)
        sums = loop.reduce(0)
    return {name: p.grad.clone() for name, p in loop.model.named_parameters()}, sums.loss / sums.num_targets


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", families())
def test_a_gpu_learns_what_a_cpu_learns(name, precision, config, samples_for, tmp_path):
    samples = samples_for(name)
    exact, loss = first_step(Job(config(name), samples, None, tmp_path), Group(0, 1))
    found, near = first_step(Job(config(name, use_gpu=True, precision=precision), samples, None, tmp_path), GPU)
    assert near == pytest.approx(loss, rel=1e-5 if precision == "fp32" else 0.02)
    if precision == "fp32":
        assert float((found - exact).norm() / exact.norm()) < 1e-4
    else:
        assert torch.nn.functional.cosine_similarity(found, exact, dim=0) > 0.98


@pytest.mark.parametrize("name", families())
def test_twice_the_same_phase_gives_the_same_bytes(name, config, samples_for, run_train):
    """Of its objective, and so of every kernel that it takes there."""
    samples = samples_for(name)
    phase = config(name, use_gpu=True, tokens=4_000, precision="bf16")
    one, _, _ = run_train(phase, samples, name="one")
    two, _, _ = run_train(phase, samples, name="two")
    assert folder_content(one, "export") == folder_content(two, "export")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [name for name in families() if family(name).samples == "tokens"])
def test_compiled_layers_learn_the_same_on_a_gpu(name, precision, config, samples_for, tmp_path):
    """In bf16 a router sends some tokens to other experts where the last bit differs."""
    samples, how = samples_for(name), {"use_gpu": True, "precision": precision}
    exact, loss = gradients(Job(config(name, **how), samples, None, tmp_path), GPU)
    found, near = gradients(Job(config(name, compile=True, **how), samples, None, tmp_path), GPU)
    assert near == pytest.approx(loss, rel=1e-5 if precision == "fp32" else 1e-3)
    most = {"fp32": 1e-4, "bf16": 0.2 if name == "mixtral" else 0.05}[precision]
    off = {name: float((found[name] - exact[name]).norm() / exact[name].norm()) for name in exact}
    off = {name: part for name, part in off.items() if not name.endswith("key.bias")}  # whose gradient is zero
    assert {name: part for name, part in off.items() if part > most} == {}
