"""Every table of a recipe says what it knows when it is asked for something else."""

import tomllib

import pytest

from components.errors import RecipeError
from components.recipe.file import validated
from flows.recipes import shipped_recipes


def content(name: str) -> dict:
    return tomllib.loads(shipped_recipes()[name].read_text())


@pytest.mark.parametrize(
    ("recipe", "table", "known"),
    [
        ("tiny", "sources", "licence"),
        ("tiny", "curate", "held_out"),
        ("tiny", "prepare", "vocab_size"),
        ("tiny", "train", "learning_rate"),
        ("tiny", "evaluate", "prompts"),
        ("tiny", "gate", "rules"),
        ("clip", "images", "held_out_styles"),
        ("tiny", "rollout", "replicas"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(recipe, table, known):
    given = content(recipe)
    place = given.setdefault(table, {})
    (place[0] if isinstance(place, list) else place)["nope"] = 1
    with pytest.raises(RecipeError, match=rf"{table}\S*\.nope: no such key\. Known here: .*{known}"):
        validated(given, "the recipe")


def test_so_does_a_set_of_images():
    given = content("clip")
    given["images"]["sets"][0]["nope"] = 1
    with pytest.raises(RecipeError, match=r"images\.sets\.0\.nope: no such key\. Known here: source, style"):
        validated(given, "the recipe")
