"""What the tables of a recipe are made of."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z][a-z0-9_-]{0,62}$"
PLACE: dict[str, Any] = {"identity": False}
Name = Annotated[str, Field(pattern=NAME)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Budget = Annotated[
    int, Field(gt=0, json_schema_extra=PLACE, description="Seconds this step may take; shown beside the actual.")
]


class Strict(BaseModel):
    """Frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def places(self) -> frozenset[str]:
        """Fields that are no part of the identity, given the values of the others; beside those marked PLACE."""
        return frozenset()
