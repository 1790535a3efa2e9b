"""The engine on a GPU: the same promises as on processors. These tests run where there is one."""

import pytest
import torch
from interrupting import check_resumes
from torch import distributed

from components.digests import folder_content
from components.training.checkpoint import read_state, whole

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

STEPS = 20


def losses(folder):
    return read_state(whole(folder / "checkpoints")[-1]).losses


@pytest.mark.parametrize("how", [{}, {"precision": "bf16"}, {"optimizer": "muon"}], ids=["fp32", "bf16", "muon"])
def test_after_an_interruption_the_bytes_are_those_of_no_interruption(how, configure, samples, run_train):
    phase = configure(use_gpu=True, tokens=STEPS * 8 * 64, checkpoint_seconds=1e-6, **how)
    check_resumes(run_train, phase, samples, STEPS)


@pytest.mark.parametrize("how", [{"isolate_documents": True}, {"micro_batch_size": 2}, {"z_loss": 1e-2}])
def test_the_losses_of_a_run_are_those_of_a_cpu(how, configure, samples, run_train, tmp_path):
    for place, on in (("cpu", {}), ("gpu", {"use_gpu": True})):
        run_train(configure(tokens=10_000, **how, **on), samples, name=place)
    found, expected = losses(tmp_path / "gpu"), losses(tmp_path / "cpu")
    assert len(found) == len(expected)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("samples", {"tokens": 10_000}),
        ("samples", {"tokens": 10_000, "isolate_documents": True, "micro_batch_size": 3}),
        ("chats", {"objective": "sft", "epochs": 6, "pack_chats": True}),
        ("preferences", {"objective": "dpo", "epochs": 3}),
    ],
    ids=["whole rows", "isolated documents", "packed chats", "preferences"],
)
def test_compiled_layers_give_the_losses_of_eager_ones_and_the_same_bytes_twice(
    kind, how, configure, run_train, tmp_path, request
):
    """With heads wide enough for the kernels of attention that only they have."""
    samples, ends = request.getfixturevalue(kind), []
    for name, compiled in (("eager", False), ("one", True), ("two", True)):
        phase = configure(use_gpu=True, precision="bf16", compile=compiled, **how).model_copy(update={"size": "0.3m"})
        out, _, _ = run_train(phase, samples, name=name)
        ends.append(folder_content(out, "export"))
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "eager"), rel=5e-3)
    assert ends[1] == ends[2]


@pytest.mark.parametrize("kind", ["chats", "preferences"])
def test_so_are_those_of_fine_tuning(kind, configure, run_train, tmp_path, request):
    samples, objective = request.getfixturevalue(kind), {"chats": "sft", "preferences": "dpo"}[kind]
    for place, on in (("cpu", {}), ("gpu", {"use_gpu": True})):
        run_train(configure(objective=objective, epochs=3, **on), samples, name=place)
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-4)


def test_shards_of_a_gpu_give_the_same_losses_and_resume_with_the_same_bytes(configure, samples, run_train, tmp_path):
    settings = {"use_gpu": True, "tokens": STEPS * 8 * 64, "checkpoint_seconds": 1e-6}
    phase = configure(parallel="fsdp", **settings)
    try:
        check_resumes(run_train, phase, samples, STEPS)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
    run_train(configure(**settings), samples, name="replicated")
    assert losses(tmp_path / "undisturbed") == pytest.approx(losses(tmp_path / "replicated"), rel=1e-5)


def test_fp8_learns_what_bf16_learns(configure, samples, run_train, tmp_path):
    """Layers whose sides are multiples of 16 are needed for it, as those of the debug size are."""
    pytest.importorskip("torchao")
    for precision in ("bf16", "fp8"):
        run_train(configure(use_gpu=True, tokens=20_000, precision=precision), samples, name=precision)
    near, far = losses(tmp_path / "bf16"), losses(tmp_path / "fp8")
    assert far != near
    assert far == pytest.approx(near, rel=0.03)


def test_a_worker_of_ray_trains_on_a_gpu(configure, samples, run_train, tmp_path):
    pytest.importorskip("ray")
    settings = {"use_gpu": True, "tokens": 10_000}
    alone, _, _ = run_train(configure(num_workers=0, **settings), samples, name="alone")
    out, _, _ = run_train(configure(num_workers=1, **settings), samples, name="ray")
    assert folder_content(out, "export") == folder_content(alone, "export")
