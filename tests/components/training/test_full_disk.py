"""No room left: one clear line, nothing half committed, and the same bits once there is room."""

import os
import resource
import subprocess
from contextlib import contextmanager

import pytest

from components.digests import folder_content
from components.errors import TrainingError
from components.training.checkpoint import damage, whole
from components.training.train import train


@contextmanager
def largest_file(num_bytes):
    """The kernel refuses files that are larger, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_first_checkpoint(configure, samples, run_train, tmp_path):
    expected, _, _ = run_train(configure(), samples, name="undisturbed")
    with largest_file(100_000), pytest.raises(TrainingError, match=r"The checkpoint cannot be written to .*too large"):
        run_train(configure(), samples)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    out, facts, _ = run_train(configure(), samples)
    assert facts["resumed_from"] is None
    assert folder_content(out, "export") == folder_content(expected, "export")


def test_no_room_for_progress(configure, samples, run_train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "progress.jsonl").write_text("\n" * 100_000)
    with largest_file(100_000), pytest.raises(TrainingError, match=r"Progress cannot be written to .*too large"):
        run_train(configure(), samples)
    _, facts, _ = run_train(configure(), samples)
    assert facts["steps"] == 79


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_no_room_for_the_export(configure, samples, run_train, tmp_path, name):
    config = configure(tokens=5_000)
    expected, _, _ = run_train(config, samples)
    full = tmp_path / "full"
    full.mkdir()
    if name != "model.safetensors":  # the largest, which meets the limit
        (full / name).symlink_to("/dev/full")
    with largest_file(100_000), pytest.raises(TrainingError, match=rf"the export cannot be written to {full}: "):
        train(config, samples, None, out=full, scratch=tmp_path / "run", report=lambda line: None)
    out, _, reports = run_train(config, samples)
    assert reports == []  # only the export was left to do
    assert folder_content(out, "export") == folder_content(expected, "export")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_the_disk_fills_up_in_the_middle(configure, samples, run_train, tmp_path):
    """The third checkpoint has no room; when there is some, training goes on from the second."""
    config = configure(checkpoint_seconds=0.05, keep_last=9)
    expected, _, _ = run_train(config, samples, name="undisturbed")
    size = sum(file.stat().st_size for file in whole(tmp_path / "undisturbed" / "checkpoints")[-1].iterdir())
    disk = tmp_path / "run"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * 5 // 2}", "tmpfs", disk]).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        with pytest.raises(TrainingError, match=r"The checkpoint cannot be written to .*No space left on device"):
            run_train(config, samples)
        left = whole(disk / "checkpoints")
        assert len(left) == 2
        assert [damage(folder) for folder in left] == [None, None]
        assert len(list((disk / "checkpoints").iterdir())) == 2
        subprocess.run(["mount", "-o", f"remount,size={size * 50}", disk], check=True)
        out, facts, _ = run_train(config, samples)
        assert 0 < facts["resumed_from"] < facts["steps"]
        assert folder_content(out, "export") == folder_content(expected, "export")
    finally:
        subprocess.run(["umount", disk], check=True)
