"""A folder of one's own: made once, taken as it is, and wrong lines in it named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import SourceError
from components.recipe.file import read_recipe
from flows.beginning import begin
from flows.running import checked

HEADWATER = str(Path(sys.executable).parent / "headwater")


def hw(home, *arguments):
    env = {**os.environ, "HEADWATER_HOME": str(home)}
    return subprocess.run([HEADWATER, *arguments], env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def mine(tmp_path):
    begin(tmp_path / "work" / "mine")
    return tmp_path / "work" / "mine"


def test_the_folder_is_taken_as_it_is_and_never_overwritten(home, tmp_path):
    mine = tmp_path / "work" / "mine"
    made = hw(home, "init", str(mine))
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1].endswith("mine/recipe.toml")
    planned = hw(home, "run", str(mine / "recipe.toml"), "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert [step["name"] for step in json.loads(planned.stdout)["steps"]][:2] == ["curate", "prepare"]
    (mine / "instructions.jsonl").write_text("changed")
    again = hw(home, "init", str(mine))
    assert again.returncode == 2
    assert "is there already, and not empty: nothing was written" in again.stderr
    assert (mine / "instructions.jsonl").read_text() == "changed"
    assert list(mine.parent.iterdir()) == [mine]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            '{"prompt": "Who?", "completion": 3}',
            'line 9: \'{"prompt": "Who?", "completion": 3}\': expected {"prompt": text',
        ),
        ('{"messages": [{"role": "user", "content": "Who?"}]}', "user and assistant take turns and assistant is last"),
        ('{"prompt": "Who?"', "line 9: not JSON"),
    ],
)
def test_a_malformed_line_is_named(mine, line, says):
    with (mine / "instructions.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SourceError) as refused:
        checked(read_recipe(mine / "recipe.toml"))
    assert f"{mine}/instructions.jsonl, line 9" in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.slow
def test_it_becomes_a_served_model(site, tmp_path):
    folder = tmp_path / "mine"
    assert site.hw("init", str(folder)).returncode == 0
    done = site.json("run", str(folder / "recipe.toml"))
    assert (done["status"], done["model"]["name"]) == ("completed", "mine")
