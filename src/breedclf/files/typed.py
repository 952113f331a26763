"""Build dataclasses from JSON values, with type checks.

pydantic isn't used because importing it takes a tenth of a second, in every process that watches a job.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

T = TypeVar("T")

Moment = Annotated[float, (0, 253_402_300_800)]
"""Seconds since 1970 (UTC) up to the year 9999."""


_PLAIN = (str, float, int, bool)


def typed(kind: type[T], values: object) -> T:
    """Make a dataclass from a mapping of its fields; unknown fields, such as those of later versions, are ignored.

    Raises:
        ValueError: a field is missing or of another type; the message names it.
        ConfigError: the dataclass itself refuses the values.

    Example:
        >>> from breedclf.jobs import MetricRecord
        >>> typed(MetricRecord, {"time": 3, "values": {"loss": "low"}})
        Traceback (most recent call last):
        ...
        ValueError: values.loss: expected a float, not 'low'
    """
    return cast(T, _made(kind, values, ""))


def unknown_fields(kind: Any, values: object, *other: str, name: str = "") -> Iterator[str]:
    """The keys of a mapping, and of those in it, that aren't fields of the dataclass, except `other` at the top.

    Example:
        >>> from breedclf.jobs import MetricRecord
        >>> list(unknown_fields(MetricRecord, {"time": 3, "values": {"loss": 1.0}, "unit": "s"}))
        ['unit']
    """
    kind = _with_fields(kind)
    if kind is None or not isinstance(values, Mapping):
        return
    hints = _hints(kind)
    for key, value in values.items():
        if key in hints:
            yield from unknown_fields(hints[key][0], value, name=_below(name, key))
        elif key not in other:
            yield _below(name, key)


def _made(kind: Any, value: Any, name: str) -> Any:
    if type(value) is kind and kind in _PLAIN:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        low, high = inner[1]
        if not low <= _made(inner[0], value, name) < high:
            raise _wrong(name, f"a number from {low} to {high}", value)
        return value
    if origin in (typing.Union, types.UnionType):
        choices = [each for each in inner if each is not type(None)]
        return None if value is None and len(choices) < len(inner) else _made(choices[0], value, name)
    if origin is typing.Literal:
        if value not in inner:
            raise _wrong(name, f"one of {', '.join(map(repr, inner))}", value)
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, "a list", value)
        return tuple(_made(inner[0], each, f"{name}.{at}") for at, each in enumerate(value))
    if origin in (Mapping, dict) or is_dataclass(kind) or typing.is_typeddict(kind):
        if not isinstance(value, Mapping):
            raise _wrong(name, "an object", value)
        if origin is not None:
            if inner == (str, str) and all(type(key) is type(each) is str for key, each in value.items()):
                return dict(value)  # the usual case, in a tenth of the time
            return {_made(inner[0], key, name): _made(inner[1], each, _below(name, key)) for key, each in value.items()}
        return kind(**_fields_of(kind, value, name))
    return _plain(kind, value, name)


def _fields_of(kind: Any, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = {}
    for field, (hint, required) in _hints(kind).items():
        if field in values:
            found[field] = _made(hint, values[field], _below(name, field))
        elif required:
            raise ValueError(f"{_below(name, field)} is missing")
    return found


def _plain(kind: Any, value: Any, name: str) -> Any:
    if issubclass(kind, Enum):
        if not isinstance(value, str) or value not in {each.value for each in kind}:
            raise _wrong(name, f"one of {', '.join(each.value for each in kind)}", value)
        return kind(value)
    taken = {float: (int, float), Path: (str, Path)}.get(kind, (kind,))
    if not isinstance(value, taken) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(name, f"a {kind.__name__}", value)
    return Path(cast(str, value)) if kind is Path else value


def _wrong(name: str, expected: str, value: Any) -> ValueError:
    shown = repr(value)
    return ValueError(f"{name or 'it'}: expected {expected}, not {shown if len(shown) <= 60 else shown[:60] + '...'}")


def _below(name: str, field: object) -> str:
    return f"{name}.{field}" if name else str(field)


@cache
def _with_fields(kind: Any) -> Any:
    """The first type with fields among a type and those that it is made of; None if there is none."""
    return next(
        (each for each in (kind, *typing.get_args(kind)) if is_dataclass(each) or typing.is_typeddict(each)), None
    )


@cache
def _hints(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The type of each field, and whether it is required."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if not is_dataclass(kind):
        return {name: (hint, name in kind.__required_keys__) for name, hint in hints.items()}
    return {
        field.name: (hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
        if field.init
    }
