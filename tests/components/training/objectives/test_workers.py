"""The contrastive loss couples samples over workers: its gradient is that of one process all the same."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPModel

from components.recipe import TrainPhase
from components.training.group import Group
from tests.support.gang import reduced

WORKER = """
import sys
from datetime import timedelta
from functools import reduce
from operator import add
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch import distributed
from transformers import CLIPModel
from components.artifacts import Samples
from components.recipe import TrainPhase
from components.training.group import Group
from components.training.loader import Loader
from components.training.objectives import objective
from tests.support.gang import reduced
torch.set_num_threads(1)
samples, folder, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
                               timeout=timedelta(seconds=120))
model = CLIPModel.from_pretrained(folder / "model")
loader = Loader(Samples(samples), batch_size=7, seed=0)
parts = loader.micro_batches(1, size=2, rank=rank, world_size=2)
found = reduce(add, objective("contrastive").backward(model, parts, Group.current()))
gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
sums = torch.tensor([found.loss_sum.item(), found.num_targets, found.metric_sums["accuracy"].item()])
save_file({**gradients, "sums": sums}, folder / f"{rank}.safetensors")
model.zero_grad()
alone = loader.micro_batches(1, size=None) if rank else []
*_, last = [None, *objective("contrastive").backward(model, alone, Group.current())]
if rank:
    save_file({name: p.grad for name, p in model.named_parameters()} | {"loss": last.loss_sum}, folder / "one.safetensors")
phase = TrainPhase.model_validate_json(sys.argv[4])
clip = CLIPModel.from_pretrained(folder / "model")
save_file({"reduced": reduced(phase, clip, Samples(samples), Group.current())}, folder / f"exact-{rank}.safetensors")
distributed.destroy_process_group()
"""


def test_gradient_of_two_uneven_workers_is_that_of_one(case, pairs, tmp_path):
    """Also where one of them has no pairs; and with `reproducible`, bit for bit."""
    this = case("contrastive", batch_size=7)
    this.model.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-c", WORKER, pairs.path, tmp_path]
    phase = TrainPhase(name="p", epochs=1, objective="contrastive", batch_size=7, reproducible=True)
    workers = [subprocess.Popen([*command, str(rank), phase.model_dump_json()]) for rank in (0, 1)]
    assert [worker.wait() for worker in workers] == [0, 0]
    exact = [load_file(tmp_path / f"exact-{rank}.safetensors")["reduced"] for rank in (0, 1)]
    model = CLIPModel.from_pretrained(tmp_path / "model")
    assert torch.equal(exact[0], reduced(phase, model, pairs, Group(0, 1)))
    assert torch.equal(exact[0], exact[1])
    (alone,) = this.objective.backward(this.model, [this.loader.batch(1)], Group(0, 1))
    first, second, only = (load_file(tmp_path / f"{name}.safetensors") for name in ("0", "1", "one"))
    together = first["sums"] + second["sums"]
    assert together.tolist() == pytest.approx(
        [alone.loss_sum.item(), 7, float(alone.metric_sums["accuracy"])], rel=1e-5
    )
    assert only["loss"].item() == pytest.approx(alone.loss_sum.item(), rel=1e-5)
    for name, parameter in this.model.named_parameters():
        expected = parameter.grad
        found = sum(worker[name] for worker in (first, second) if name in worker)
        tolerance = 1e-5 * max(1.0, float(expected.abs().max()))
        assert torch.allclose(found, expected, atol=tolerance), name
        assert torch.allclose(only[name], expected, atol=tolerance), name
