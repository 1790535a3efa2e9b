"""Precision and memory of a step: refused where the hardware lacks it, else close to fp32; less memory, the same bits."""

import pytest
import torch

from components.errors import TrainingError
from components.recipe import Adapter, TrainPhase
from components.training.config import Job
from components.training.group import Group
from components.training.kernels import use_fast_kernels
from components.training.loader import Loader
from components.training.loop import Loop
from components.training.model import fresh_model
from components.training.objectives import objective
from components.training.precision import CPU_FLAGS, chosen, cpu_flags, use_precision

HAS_UNITS = bool(CPU_FLAGS & cpu_flags())
CPU = torch.device("cpu")


def gradient(config, samples, precision):
    """Of the first batch, and its loss; the model of the phase's start beside it is a hundredth off."""
    phase = config.phase
    learnt = objective(phase.objective).of(phase, samples)

    def made():
        return use_precision(use_fast_kernels(fresh_model(config, samples), phase), precision, CPU)

    model, beside = made(), []
    if learnt.needs_reference:
        beside = [made().requires_grad_(False)]
        for weights in beside[0].parameters():
            weights.mul_(1.01)
    found = learnt.loss(model, Loader.of(phase, samples).batch(0), *beside)
    found.loss_sum.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]), found.loss_sum.item()


@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        ("samples", {"isolate_documents": False}),
        ("samples", {"isolate_documents": True}),
        ("chats", {"objective": "sft", "epochs": 1}),
        ("preferences", {"objective": "dpo", "epochs": 1}),
    ],
    ids=["whole rows", "isolated documents", "chats", "preferences"],
)
def test_bf16_learns_what_fp32_learns_and_keeps_fp32_weights(configure, kind, phase, request):
    samples = request.getfixturevalue(kind)
    config = configure(**phase)
    exact, loss = gradient(config, samples, "fp32")
    found, near = gradient(config, samples, "bf16")
    assert found.dtype == torch.float32
    assert near != loss
    assert near == pytest.approx(loss, rel=2e-3)
    assert torch.nn.functional.cosine_similarity(found, exact, dim=0) > 0.999
    assert float((found - exact).norm() / exact.norm()) < 0.03  # bf16 has 8 bits: each product is off by up to 0.4%


@pytest.mark.skipif(HAS_UNITS, reason="this processor has bf16 units")
def test_bf16_is_refused_without_units_and_auto_is_fp32(configure, samples, run_train):
    with pytest.raises(
        TrainingError, match=r'precision bf16: this processor has no bf16 units.*Take "fp32", or "auto"'
    ):
        run_train(configure(precision="bf16"), samples)
    exact, _, _ = run_train(configure(tokens=2_000), samples, name="exact")
    auto, _, _ = run_train(configure(tokens=2_000, precision="auto"), samples, name="auto")
    assert (exact / "model.safetensors").read_bytes() == (auto / "model.safetensors").read_bytes()


@pytest.mark.skipif(not HAS_UNITS, reason="this processor has no bf16 units")
def test_auto_is_bf16_where_there_are_units(configure):
    assert chosen(configure(precision="auto").phase) == "bf16"


def test_fp8_without_a_gpu_is_no_recipe():
    with pytest.raises(ValueError, match="precision fp8 needs use_gpu = true: processors have no fp8 units"):
        TrainPhase(name="a", tokens=1, precision="fp8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_gpu_that_is_not_there_is_one_clear_line(configure, samples, run_train, workers):
    expected = "torch sees no GPU here" if workers == 0 else "1 workers of one GPU each, and the Ray cluster has 0"
    with pytest.raises(TrainingError, match=expected):
        run_train(configure(use_gpu=True, num_workers=workers), samples)


@pytest.mark.parametrize("adapter", [None, Adapter(rank=4, alpha=8)], ids=["all weights", "an adapter"])
def test_computing_layers_again_changes_no_bit(configure, samples, tmp_path, adapter, run_train):
    start, _, _ = run_train(configure(tokens=2_000), samples)
    from components.artifacts import Export

    def first_gradient(**phase):
        init = {"init": "phase:a", "adapter": adapter} if adapter else {}
        loop = Loop(Job(configure(**init, **phase), samples, Export(start) if adapter else None, tmp_path), Group(0, 1))
        loop.reduce(0)
        return loop.parallel.flat.gradients.clone()

    assert torch.equal(first_gradient(), first_gradient(activation_checkpointing=True))
