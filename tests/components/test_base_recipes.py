"""Recipes that start from an existing model: what has to fit together, said in one line."""

import pytest

from components.errors import RecipeError
from components.recipe.file import read_recipe, validated

RECIPE = """
name = "mine"
[[sources]]
name = "books"
path = "books"
licence = "CC0-1.0"
origin = "here"
[[sources]]
name = "old"
path = "model"
licence = "Apache-2.0"
origin = "elsewhere"
role = "base"
[[train]]
name = "more"
init = "source:old"
tokens = 1000
[[gate.rules]]
metric = "bits_per_byte"
base_regression = 0
"""


@pytest.fixture
def recipe(tmp_path):
    def read(*settings, text=RECIPE):
        (tmp_path / "mine.toml").write_text(text)
        return read_recipe(tmp_path / "mine.toml", settings)

    return read


def test_a_base_gives_the_size(recipe, tmp_path):
    found = recipe()
    assert (found.base.path, found.size) == (str(tmp_path / "model"), None)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("size=2m", "give either size, or one source with the role 'base'"),
        ("sources.old.role=documents", "give either size, or one source with the role 'base'"),
        ("sources.books.role=base", "two sources have the role 'base'"),
        ("train.more.init=random", "phase more must start from source:old or an earlier phase"),
        ("train.more.init=source:books", "phase more must start from source:old or an earlier phase"),
        ("name=old", "the base and the model that comes out are both called 'old'"),
        ("sources.old.path=pypi:llm", "expected pypi:NAME==VERSION"),
    ],
)
def test_what_does_not_fit(recipe, setting, says):
    with pytest.raises(RecipeError, match=says) as raised:
        recipe(setting)
    assert len(str(raised.value).splitlines()) == 1


CHOICE = """
[[train]]
name = "lora"
init = "source:old"
epochs = 1
adapter = { rank = 4 }
"""


def test_phases_are_chosen(recipe):
    text = RECIPE.replace("[[gate", CHOICE + "[[gate")
    assert [phase.name for phase in recipe(text=text).train] == ["more", "lora"]
    chosen = recipe('phases=["lora"]', text=text)
    assert [phase.name for phase in chosen.train] == ["lora"]
    assert validated(chosen.model_dump(mode="json"), "the UI") == chosen
    assert chosen.train[0].adapter.rank == 4
    with pytest.raises(RecipeError, match=r"phases: there is no phase 'full'. Known: more, lora"):
        recipe('phases=["full"]', text=text)
    with pytest.raises(RecipeError, match=r"train.lora.adapter.ranks: no such key. Known here: method, rank, alpha"):
        recipe("train.lora.adapter.ranks=4", text=text)


def test_an_adapter_needs_weights():
    phase = {"name": "x", "epochs": 1, "adapter": {"rank": 4}}
    with pytest.raises(RecipeError, match="an adapter stands beside weights that are there"):
        validated({"name": "mine", "train": [phase]}, "here")


def test_a_base_without_a_licence(recipe):
    with pytest.raises(RecipeError, match=r"sources.old.licence: Field required"):
        recipe(text=RECIPE.replace('licence = "Apache-2.0"\n', ""))


def test_a_rule_about_a_base_that_is_not_there(recipe):
    text = RECIPE.replace('role = "base"', 'role = "documents"').replace('init = "source:old"', "")
    with pytest.raises(RecipeError, match="the rule on bits_per_byte compares with a base"):
        recipe("size=2m", text=text)
