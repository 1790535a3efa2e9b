"""The table `[images]` of a recipe: sets of images, what their captions say, and what of them is held out."""

from string import Formatter
from typing import TYPE_CHECKING

from pydantic import Field, ValidationInfo, field_validator

from components.recipe.fields import Budget, Name, Strict

if TYPE_CHECKING:
    from components.recipe import Recipe

PARTS = ("style", "label", "tags")
ONCE_MORE = 4
"""Of so many pictures one is learnt once more, with the caption of its style."""
WORDLESS = 10
"""Of so many pictures one is learnt once more without words, by what learns to draw."""


class ImageSet(Strict):
    """One source of images, and how it is put into words."""

    source: Name = Field(description="A source with the role images.")
    style: Name = Field(description="What its pictures have in common.")
    labels: Name | None = Field(
        None,
        description="A source with the role labels, to whose entries the names of the files lead; left out, the first line "
        "of the .txt file beside an image is its label.",
    )
    caption: str = Field("{label}", min_length=1, description="With {style}, {label} and {tags} in it.")
    style_caption: str = Field(
        "",
        description="A caption of the style alone, with which every fourth picture is learnt once more: by it an image's "
        "style is told.",
    )

    @field_validator("caption", "style_caption")
    @classmethod
    def _known_parts(cls, given: str, info: ValidationInfo) -> str:
        known = PARTS[:1] if info.field_name == "style_caption" else PARTS
        try:
            parts = [(name, form, how) for _, name, form, how in Formatter().parse(given) if name is not None]
        except ValueError as error:
            raise ValueError(f"{given!r} is no caption: {error}") from None
        for name, form, how in parts:
            if name not in known or form or how:
                raise ValueError(f"{given!r} asks for {{{name}}}. Known: {', '.join(f'{{{p}}}' for p in known)}")
        return given


class ImagesConfig(Strict):
    """Files to pictures with captions."""

    sets: tuple[ImageSet, ...] = Field(min_length=1, description="Tables `[[images.sets]]`.")
    size: int = Field(32, ge=8, le=1024, description="Pixels of a side; a picture stands whole on white.")
    held_out: float = Field(0.1, gt=0, lt=0.9, description="Fraction of the concepts that are held out in all styles.")
    held_out_styles: float = Field(
        0.2, ge=0, lt=0.9, description="Fraction of the other concepts of which one style is held out."
    )
    seed: int = Field(0, description="Chooses what is held out.")
    budget_seconds: Budget = 60


def wrong_images(recipe: "Recipe") -> str | None:
    """What is wrong with how `recipe` gives a family the corpus that it learns from, or None."""
    from components.models import families, family

    wanted = family(recipe.family).corpus if recipe.size and recipe.family in families() else "documents"
    if (recipe.images is not None) != (wanted == "images"):
        return f"{recipe.family} learns from {wanted}: " + (
            "add the table [images]" if recipe.images is None else "leave the table [images] out"
        )
    if recipe.images is None:
        return None if recipe.with_role("documents") else "no source has the role 'documents'"
    roles = {source.name: source.role for source in recipe.sources}
    for chosen in recipe.images.sets:
        for name, role in ((chosen.source, "images"), (chosen.labels, "labels")):
            if name is not None and roles.get(name) != role:
                return f"images.sets: {name!r} is no source with the role {role!r}"
    return None
