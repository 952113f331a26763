"""Read what any version of breedclf saved: keys that this version doesn't know are ignored with a warning."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from breedclf.files.unknown_keys import warn_of_unknown_keys

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


def from_saved(model: type[Model], values: Mapping[str, Any], source: object) -> Model:
    """Validate saved values; unknown keys, also of nested models, are left out, and a warning names them.

    Raises:
        ValidationError: a value is missing or wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        unknown = [problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"]
        if not unknown:
            raise
    known = copy.deepcopy(dict(values))
    warn_of_unknown_keys(source, [_removed(known, location) for location in unknown])
    return model.model_validate(known)


def _removed(values: Any, location: Location) -> str:
    """Remove the key at a location, and return its name; parts that aren't keys are the tags of unions."""
    *path, last = location
    names: list[str] = []
    for part in path:
        if part in values if isinstance(values, Mapping) else isinstance(part, int):
            values = values[part]
            names.append(str(part))
    values.pop(last, None)
    return ".".join([*names, str(last)])
