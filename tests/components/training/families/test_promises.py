"""What the engine promises holds for every family: the same bytes after an interruption, for any workers and precision."""

from dataclasses import replace

import pytest
import torch
from interrupting import check_resumes

from components.artifacts import Export
from components.models import families, family, family_of
from components.recipe import Adapter
from components.training.adapters import trained
from components.training.config import Job
from components.training.kernels import use_fast_kernels
from components.training.loader import Loader
from components.training.model import initial_model
from components.training.objectives import objective
from components.training.precision import use_precision

CPU = torch.device("cpu")
STEPS = 12


@pytest.mark.parametrize("name", families())
def test_after_an_interruption_the_bytes_are_those_of_no_interruption(name, config, samples_for, run_train):
    samples = samples_for(name)
    each = Loader(samples, batch_size=8, seed=0).tokens_per_sample
    phase = config(name, tokens=int(STEPS * 8 * each), checkpoint_seconds=1e-6)
    check_resumes(run_train, phase, samples, STEPS)


APART = ("clip", "mixtral")
"""A contrastive loss needs all of a batch (tests/components/training/test_gradients.py), and the use of experts is evened out
within each part of it."""


def gradient(job, precision="fp32", parts=1, dtype=torch.float32):
    """Of the first batch, computed in so many parts, and its loss."""
    learnt = objective(job.config.phase.objective).of(job.config.phase, job.samples)
    model, loader = initial_model(job).to(dtype), Loader(job.samples, batch_size=8, seed=0)
    model, loss = use_precision(use_fast_kernels(model, job.config.phase), precision, CPU), 0.0
    for rank in range(parts):
        batch = loader.batch(0, rank=rank, world_size=parts)
        tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in batch.tensors.items()}
        found = learnt.loss(model, replace(batch, tensors=tensors)).loss_sum
        found.backward()
        loss += found.item()
    return torch.cat([p.grad.flatten() for p in trained(model).values()]), loss


@pytest.mark.parametrize("name", [name for name in families() if name not in APART])
def test_the_gradient_of_a_batch_is_that_of_its_parts(name, config, samples_for, tmp_path):
    """Of three workers, of which one has fewer samples; with float64 weights, so that only a wrong sum can differ."""
    job = Job(config(name), samples_for(name), None, tmp_path)
    whole, loss = gradient(job, dtype=torch.float64)
    parts, total = gradient(job, parts=3, dtype=torch.float64)
    assert total == pytest.approx(loss, rel=1e-6)
    assert float((parts - whole).norm() / whole.norm()) < 1e-9


@pytest.mark.parametrize("name", families())
def test_bf16_learns_what_fp32_learns(name, config, samples_for, tmp_path):
    job = Job(config(name), samples_for(name), None, tmp_path)
    exact, loss = gradient(job)
    near, found = gradient(job, "bf16")
    assert near.dtype == torch.float32
    assert found == pytest.approx(loss, rel=0.02)
    assert torch.nn.functional.cosine_similarity(near, exact, dim=0) > 0.98


@pytest.mark.parametrize("name", [name for name in families() if "completions" in family(name).endpoints])
def test_an_adapter_of_what_writes_is_merged_into_what_loads(name, config, samples_for, run_train):
    samples = samples_for(name)
    start, _, _ = run_train(config(name, tokens=2_000), samples, name="start")
    adapter = Adapter(rank=4, alpha=8)
    phase = config(name, name="more", init="phase:start", adapter=adapter, tokens=2_000)
    out, facts, _ = run_train(phase, samples, Export(start), "more")
    assert 0 < facts["trained_parameters"] < facts["parameters"]
    assert (out / "adapter" / "adapter_model.safetensors").is_file()
    assert family_of(out).name == name
