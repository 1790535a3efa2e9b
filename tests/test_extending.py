"""What docs/extending.md adds, in a copy of the tree: one file each, and it is held to what all others are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from homes import new_site

ROOT = Path(__file__).parents[1]
FOLDERS = ("components", "flows", "infra", "docs", "tests")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The tree with the new files that docs/extending.md shows."""
    folder = tmp_path_factory.mktemp("tree")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shown = (ROOT / "docs/extending.md").read_text()
    new = re.findall(r"`(components/[\w/]+\.py)`:\n\n```python\n(.*?)```", shown, re.DOTALL)
    assert len(new) == 3
    for path, code in new:
        assert not (folder / path).exists()
        (folder / path).write_text(code)
    return folder


def run(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_it_passes_the_tests_of_every_family(copy):
    code, said = run(
        copy, "-m", "pytest", "-q", "tests/components/models", "tests/components/training/families", "-k", "qwen3"
    )
    assert code == 0, said
    passed = int(re.search(r"(\d+) passed", said).group(1))
    assert passed >= 7, said


def test_the_objective_passes_the_tests_of_every_objective(copy):
    code, said = run(copy, "-m", "pytest", "-q", "tests/components/training/objectives", "-k", "goldfish_lm")
    assert code == 0, said
    assert int(re.search(r"(\d+) passed", said).group(1)) >= 3, said


def test_the_filter_refuses_capitals_and_not_prose(copy):
    ask = "from components.curation.filters.shouting import refuse; print(refuse('BUY IT NOW', None), refuse('I do so.', None))"
    code, said = run(copy, "-c", ask)
    assert (code, said) == (0, "100% of the letters are capitals, more than 30% None\n")


@pytest.fixture(scope="module")
def recipe(copy):
    """The recipe `tiny` with another family."""
    text = (copy / "flows/recipes/tiny.toml").read_text().replace('name = "tiny"', 'name = "own"', 1)
    text = text.replace('family = "llama"', 'family = "qwen3"').replace('size = "0.5m"', 'size = "debug"')
    (copy / "flows/recipes/own.toml").write_text(text)
    return "own"


def test_it_is_planned_by_a_recipe_that_names_it(copy, recipe):
    code, said = run(copy, "-m", "flows.cli", "plan", recipe, "--json")
    assert code == 0, said
    assert '"parameters": ' in said


@pytest.mark.slow
def test_it_goes_the_whole_way(copy, recipe, monkeypatch):
    """Curated, trained, evaluated, gated, registered, approved and served, by services that run from the copy."""
    monkeypatch.setenv("PYTHONPATH", str(copy))
    monkeypatch.chdir(copy)
    site = new_site("extending")
    try:
        done = site.json("run", recipe)
        assert done["status"] == "completed"
        assert done["model"]["version"] == "1"
    finally:
        site.close()
