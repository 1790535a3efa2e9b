"""Which fields of a config decide what comes out."""

import json
from typing import Any

from pydantic import BaseModel

from components.recipe.fields import Strict


def identity_fields(config: BaseModel) -> dict[str, Any]:
    """The fields of a config that decide what comes out, as JSON values; those marked PLACE are left out, at any depth."""
    kept: dict[str, Any] = {}
    places = config.places() if isinstance(config, Strict) else ()
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if name in places or (isinstance(extra, dict) and extra.get("identity") is False):
            continue
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            kept[name] = identity_fields(value)
        elif isinstance(value, tuple) and any(isinstance(entry, BaseModel) for entry in value):
            kept[name] = [identity_fields(entry) for entry in value]
        else:
            kept[name] = json.loads(config.model_dump_json(include={name}))[name]
    return kept
