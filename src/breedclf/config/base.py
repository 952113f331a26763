"""The base class of all settings, the types of their paths, and what each training setting decides."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from breedclf.config.aliases import renamed_settings
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath, text_path, user_path
from breedclf.files.s3_uri import is_s3, whole_uri

Init = TypeVar("Init", bound=Callable[..., None])

if TYPE_CHECKING:
    Given = TypeVar("Given")
    Read = TypeVar("Read")

    class Takes(Generic[Given, Read]):
        """A field that takes `Given` and returns `Read`, as PEP 681 allows.

        A field of such a type needs `validate_default=True`, with which pydantic's `Field` takes a default of any type.
        """

        def __get__(self, instance: object, owner: object) -> Read: ...

        def __set__(self, instance: object, value: Given) -> None: ...


class Decides(StrEnum):
    """What a training setting decides; resuming, caches and searches depend on it."""

    IMAGES = "which images are used"
    START = "the initial weights"
    LEARNING = "what is learned"
    LENGTH = "how long training runs"
    CHOICE = "which epoch is selected"
    SPEED = "how it is computed; the result is the same up to rounding"
    RECORDS = "what is stored and reported, and where"


def decides(model: type[BaseModel], name: str) -> Decides:
    """What a field decides.

    Raises:
        ConfigError: the field has no `Decides` mark.
    """
    found = [mark for mark in model.model_fields[name].metadata if isinstance(mark, Decides)]
    if len(found) != 1:
        raise ConfigError(f"{model.__name__}.{name} must be marked with one Decides, where it is declared")
    return found[0]


def fields_that_decide(model: type[BaseModel], *what: Decides) -> frozenset[str]:
    """The names of the fields that decide one of these."""
    return frozenset(name for name in model.model_fields if decides(model, name) in what)


def _path(value: object, info: ValidationInfo) -> Path | str:
    return _checked_path(user_path, value, info)


def _text_path(value: object, info: ValidationInfo) -> Path | str:
    return _checked_path(text_path, value, info)


def _output_path(value: object, info: ValidationInfo) -> Path | str:
    path = _text_path(value, info)
    if is_s3(path):
        raise ValueError(f"{info.field_name}={whole_uri(path)!r}: give a folder of this machine, not one in S3")
    return path


def _checked_path(check: Callable[[Any, str], Path], value: object, info: ValidationInfo) -> Path | str:
    name = info.field_name or "path"
    if value is None:
        raise ValueError(f"{name} has no value: give a path (in YAML a single ~ means no value; write ~/)")
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{name}={value!r}: a path is text")
    path = check(value, name)
    return str(path) if info.mode == "json" else path  # pydantic makes a Path of it: from JSON only of text


def _absent_if_none_text(value: object) -> object:
    return None if isinstance(value, str) and value.lower() in ("none", "null", "") else value


def _absent_if_named_none(value: object) -> object:
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value


MaybeText: BeforeValidator = BeforeValidator(_absent_if_none_text)

if TYPE_CHECKING:
    UserPath = Takes[StrPath, Path]
    MaybeUserPath = Takes[StrPath | None, Path | None]
    UserPathOrNone = MaybeUserPath
    MaybeTextPath = MaybeUserPath
    OutputPath = UserPath
    MaybeOutputPath = MaybeUserPath
else:
    _NONE = BeforeValidator(_absent_if_named_none)
    _AS_TEXT = PlainSerializer(whole_uri, return_type=str, when_used="json")
    UserPath = Annotated[Path, BeforeValidator(_path), _AS_TEXT]
    UserPathOrNone = UserPath | None
    MaybeUserPath = Annotated[UserPath | None, _NONE]
    MaybeTextPath = Annotated[Annotated[Path, BeforeValidator(_text_path), _AS_TEXT] | None, _NONE]
    OutputPath = Annotated[Path, BeforeValidator(_output_path)]
    MaybeOutputPath = Annotated[OutputPath | None, _NONE]


def collects_errors(init: Init) -> Init:
    """Decorate the `__init__` of settings so that a pydantic model that contains them reports each error by its field.

    pydantic would otherwise call `__init__`, and take its ConfigError for a single error of the whole settings.
    """
    setattr(init, "__pydantic_base_init__", True)  # noqa: B010 - functions don't declare it
    return init


class Settings(BaseModel):
    """Base of all settings: frozen; an unknown key is refused with the nearest valid name; old names are accepted.

    The constructor raises ConfigError. pydantic's own methods, such as `model_validate`, raise its ValidationError, as
    do models that have settings as a field; both are a ValueError.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), validate_default=True
    )

    @collects_errors
    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self).model_fields)) from error

    @model_validator(mode="before")
    @classmethod
    def _under_new_names(cls, values: object) -> object:
        return renamed_settings(values) if isinstance(values, Mapping) else values

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """True counts as 1 in Python, so `epochs: yes` in a file would silently train for one epoch."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        accepted = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and bool not in accepted and accepted & {int, float}:
            raise ValueError(f"{info.field_name}={value}: expected a number, not yes or no")
        return value

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new one."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **renamed_settings(changes)})


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest valid one, or all of them if none is similar."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid names are {', '.join(valid)}"


def explain(error: ValidationError, fields: Iterable[str]) -> str:
    """One line per problem: the field, its value, and what is expected."""
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
