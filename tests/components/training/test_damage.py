"""Whatever happens to the newest checkpoint, it is found and named, and the one before gives the same bits."""

import random
import shutil

import pytest

from components.digests import folder_content
from components.training.checkpoint import newest_verified, step_of, whole
from components.training.config import Job

FLIPS = 200


@pytest.fixture
def trained(configure, samples, run_train, tmp_path):
    """A finished phase with its two newest checkpoints, and the export of it."""
    config = configure(checkpoint_seconds=0.01)
    out, facts, _ = run_train(config, samples)
    *_, before, newest = whole(tmp_path / "run" / "checkpoints")
    assert step_of(newest) == facts["steps"]
    return Job(config, samples, None, tmp_path / "run"), before, newest, folder_content(out, "export")


def found_after_damage(job, newest):
    """The checkpoint that is used now, and what is said of the newest, which is put back for the next damage."""
    said = []
    found = newest_verified(job.checkpoints, said.append, job=job.digest)
    aside = newest.with_suffix(".bad")
    assert not newest.exists()
    shutil.rmtree(aside)
    return found.folder, [line["warning"] for line in said]


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def flip(file, at, bit=0):
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def test_any_flipped_bit_is_found_and_named(trained, tmp_path):
    """Any bit of any file, the optimizer's state and the manifest among them."""
    job, before, newest, _ = trained
    chance, copy = random.Random(4), tmp_path / "copy"
    shutil.copytree(newest, copy)
    for _ in range(FLIPS):
        file = chance.choice(sorted(newest.iterdir()))
        flip(file, chance.randrange(file.stat().st_size), chance.randrange(8))
        used, said = found_after_damage(job, newest)
        assert used == before
        assert len(said) == 1
        assert said[0].startswith(f"Checkpoint {newest.name} is damaged ({file.name} ")
        shutil.copytree(copy, newest)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json", "a file too many"]
)
def test_a_file_that_is_cut_missing_or_of_another_step_is_found_and_named(trained, tmp_path, name):
    job, before, newest, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(newest, copy)
    damages = {
        "cut": lambda file: cut(file),
        "missing": lambda file: file.unlink(),
        "of another step": lambda file: shutil.copyfile(before / name, file),
        "a folder": lambda file: (file.unlink(), file.mkdir()),
    }
    if name == "a file too many":
        damages = {"odd": lambda file: file.write_text("")}
    for damage in damages.values():
        damage(newest / name)
        used, said = found_after_damage(job, newest)
        assert used == before
        assert [name in warning or (damage is damages.get("of another step")) for warning in said] == [True]
        shutil.copytree(copy, newest)


@pytest.mark.parametrize("damage", ["stale", "flipped", "gone"])
def test_the_checkpoint_before_gives_the_same_bits(trained, run_train, samples, tmp_path, damage):
    job, before, newest, expected = trained
    if damage == "stale":  # the whole content of another step under the newest's name
        shutil.rmtree(newest)
        shutil.copytree(before, newest)
    elif damage == "flipped":
        flip(newest / "optimizer.safetensors", -5)
    else:
        (newest / "model.safetensors").unlink()
    out, facts, _ = run_train(job.config, samples)
    assert facts["resumed_from"] == step_of(before)
    assert len(facts["warnings"]) == 1
    assert facts["warnings"][0].startswith(f"Checkpoint {newest.name} is damaged (")
    assert newest.with_suffix(".bad").is_dir()
    assert folder_content(out, "export") == expected
