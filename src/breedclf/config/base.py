"""What all settings share: their base, the paths in them, and what each one says that it decides."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator

from breedclf.errors import ConfigError
from breedclf.files.paths import text_path, user_path


class Decides(StrEnum):
    """What a setting of a training decides: resuming, caches and searches ask for it."""

    IMAGES = "which images are learned from and compared"
    START = "the weights that training starts from"
    LEARNING = "what is learned"
    LENGTH = "how long training goes on"
    CHOICE = "which epoch is chosen"
    SPEED = "how it is computed, with the same outcome to rounding"
    RECORDS = "what is stored and reported, and where"


def decides(model: type[BaseModel], name: str) -> Decides:
    """What a field says that it decides.

    Raises:
        ConfigError: it doesn't say.
    """
    found = [mark for mark in model.model_fields[name].metadata if isinstance(mark, Decides)]
    if len(found) != 1:
        raise ConfigError(f"{model.__name__}.{name} must be marked with one Decides, where it is declared")
    return found[0]


def fields_that_decide(model: type[BaseModel], *what: Decides) -> frozenset[str]:
    """The names of the fields that decide one of these."""
    return frozenset(name for name in model.model_fields if decides(model, name) in what)


def _path(value: object, info: ValidationInfo) -> Path:
    return _checked_path(user_path, value, info)


def _text_path(value: object, info: ValidationInfo) -> Path:
    return _checked_path(text_path, value, info)


def _checked_path(check: Callable[[Any, str], Path], value: object, info: ValidationInfo) -> Path:
    name = info.field_name or "path"
    if value is None:
        raise ValueError(f"{name} has no value: give a path (in YAML a lone ~ means no value; write ~/)")
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{name}={value!r}: a path is text")
    try:
        return check(value, name)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _absent_if_none_text(value: object) -> object:
    return None if isinstance(value, str) and value.lower() in ("none", "null", "") else value


def _absent_if_named_none(value: object) -> object:
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value


MaybeText = BeforeValidator(_absent_if_none_text)
UserPath = Annotated[Path, BeforeValidator(_path)]
MaybeUserPath = Annotated[UserPath | None, BeforeValidator(_absent_if_named_none)]
OutputPath = Annotated[Path, BeforeValidator(_text_path)]
MaybeOutputPath = Annotated[OutputPath | None, BeforeValidator(_absent_if_named_none)]


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown key is refused with the nearest valid name."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), validate_default=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explain(error, type(self).model_fields)) from error

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Python takes True for 1, so that `epochs: yes` in a file would quietly train one epoch."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        accepted = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and bool not in accepted and accepted & {int, float}:
            raise ValueError(f"{info.field_name}={value}: a number is wanted here, not yes or no")
        return value

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new one."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest valid one, or all of them when none is near."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid names are {', '.join(valid)}"


def _explain(error: ValidationError, fields: Iterable[str]) -> str:
    """One line a problem: the field, the value it got, and what would be right."""
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function-"))
        value = problem["input"]
        match problem["type"]:
            case "extra_forbidden":
                lines.append(f"unknown setting {name!r}: {nearest(name, fields)}")
            case "missing":
                lines.append(f"setting {name!r} is required")
            case "value_error":
                lines.append(str(problem["ctx"]["error"]))
            case _:
                message = problem["msg"][0].lower() + problem["msg"][1:]
                lines.append(f"{name}={value!r}: {message}")
    return "\n".join(lines)
