"""Gradients: of many workers as of one, and of the objectives as of an independent calculation."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.training.arithmetic import exact_arithmetic
from components.training.config import Job
from components.training.group import Group
from components.training.loader import Loader
from components.training.loop import Loop
from components.training.model import fresh_model
from components.training.objectives import objective

WORKER = """
import json, sys
from datetime import timedelta
from safetensors.torch import save_file
from torch import distributed
from components.training.arithmetic import exact_arithmetic
from components.training.config import Job
from components.training.group import Group
from components.training.loop import Loop
jobs, folder, rank, world_size = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size,
                               timeout=timedelta(seconds=120))
with exact_arithmetic(1):
    for name, job in jobs.items():
        loop = Loop(Job.from_json(job), Group.current())
        loop.reduce(0)
        save_file({"reduced": loop.parallel.flat.reduced}, f"{folder}/{name}-{rank}.safetensors")
distributed.destroy_process_group()
"""


def test_gradient_of_three_workers_is_that_of_one(configure, samples, chats, tmp_path):
    """Uneven shares of unevenly long chats too: the mean is over all targets, not over workers."""
    jobs = {
        "causal_lm": Job(configure(batch_size=8), samples, None, tmp_path / "causal_lm"),
        "sft": Job(configure(batch_size=7, objective="sft"), chats, None, tmp_path / "sft"),
    }
    described = json.dumps({name: job.as_json() for name, job in jobs.items()})
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, described, tmp_path, str(rank), "3"]) for rank in range(3)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    for name, job in jobs.items():
        with exact_arithmetic(1):
            alone = Loop(job, Group(0, 1))
            alone.reduce(0)
        together = [load_file(tmp_path / f"{name}-{rank}.safetensors")["reduced"] for rank in range(3)]
        assert torch.equal(together[0], together[1])
        assert torch.equal(together[0], together[2])
        assert alone.parallel.flat.gradients.norm() > 0.01
        assert (together[0][: alone.parallel.flat.size] - alone.parallel.flat.gradients).abs().max() < 1e-6
        assert torch.allclose(
            together[0][alone.parallel.flat.size :], alone.parallel.flat.reduced[alone.parallel.flat.size :]
        )


def test_steps_of_four_micro_batches_are_those_of_the_whole_batch(configure, samples, tmp_path):
    phase = {"batch_size": 32, "tokens": 4 * 32 * 64}
    whole, parts = (
        Loop(Job(configure(**phase, **size), samples, None, tmp_path), Group(0, 1))
        for size in ({}, {"micro_batch_size": 8})
    )
    for step in range(4):
        expected, found = whole.step(step), parts.step(step)
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
        assert found["tokens"] == expected["tokens"] == (step + 1) * 32 * 64
    assert torch.allclose(parts.parallel.flat.values, whole.parallel.flat.values, atol=1e-4)


def test_flat_step_is_that_of_plain_adamw(configure, samples, tmp_path):
    """The reference: the same model, torch's AdamW over its own parameters, autograd's mean cross-entropy."""
    config = configure(clip_norm=0.5)
    loop = Loop(Job(config, samples, None, tmp_path), Group(0, 1))
    model = fresh_model(config, samples)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for step in range(3):
        shown = loop.step(step)
        batch = loop.loader.batch(step)
        logits = model(input_ids=batch.input_ids).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = shown["learning_rate"]
        optimizer.step()
        assert shown["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert shown["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    for ours, reference in zip(loop.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(ours, reference, atol=2e-5)


def test_sft_counts_the_answers_only(configure, chats):
    """The reference: each chat alone, unpadded, log-probabilities by numpy in fp64, answers found by their mask."""
    model = fresh_model(configure(), chats).eval()
    loader = Loader(chats, batch_size=chats.json("samples.json")["num_documents"], seed=0)
    with torch.no_grad():
        found = objective("sft").loss(model, loader.batch(0))
    tokens = np.fromfile(chats.path / "tokens.bin", dtype=np.uint16).astype(np.int64)
    mask = np.fromfile(chats.path / "mask.bin", dtype=np.uint8)
    offsets = np.load(chats.path / "offsets.npy")
    loss, correct = 0.0, 0
    for start, end in pairwise(offsets):
        with torch.no_grad():
            logits = model(input_ids=torch.from_numpy(tokens[start:end])[None]).logits[0].double().numpy()
        logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        for position in np.flatnonzero(mask[start:end]):
            loss -= logs[position - 1, tokens[start + position]]
            correct += int(logits[position - 1].argmax() == tokens[start + position])
    assert found.num_targets == mask.sum()
    assert found.loss_sum.item() == pytest.approx(loss, rel=1e-5)
    assert int(found.metric_sums["accuracy"]) == correct
