"""Validates a request against botocore's model of the service, with messages in the style of AWS."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from breedclf.errors import MissingExtraError

_JAVA_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s"}
_MAX_SHOWN_CHARS = 100
_ENDLESS = 1e300


class WrongTypeError(ValueError):
    """A value has a type that the service can't parse."""


@functools.cache
def service_model(service: str) -> Any:
    """botocore's model of a service.

    Raises:
        MissingExtraError: botocore isn't installed.
    """
    try:
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError as error:
        raise MissingExtraError("this needs botocore's models of AWS: pip install 'breedclf[sagemaker]'") from error
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def model_faults(service: str, operation: str, parameters: Mapping[str, Any]) -> list[str]:
    """The problems of a request: missing and unknown keys, enums, lengths, ranges and patterns.

    Unknown keys are errors, which is stricter than AWS, which ignores some.

    Raises:
        WrongTypeError: a value has a wrong type, or the request is nested too deeply.
    """
    shape = service_model(service).operation_model(operation).input_shape
    return [] if shape is None else shape_faults(shape, parameters)


def shape_faults(shape: Any, value: Any) -> list[str]:
    """The problems of a value according to one of botocore's shapes, of a request or a response.

    Raises:
        WrongTypeError: as `model_faults`.
    """
    try:
        return list(_faults(shape, value, ""))
    except RecursionError as error:
        raise WrongTypeError("the request is nested too deeply") from error


def _faults(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _faults_of_structure(shape, value, path)
    elif kind == "list":
        _require(isinstance(value, (list, tuple)), "a list", value, path)
        yield from _faults_of_size(shape, value, path, "length")
        for number, each in enumerate(value, 1):
            yield from _faults(shape.member, each, f"{path}.{number}.member")
    elif kind == "map":
        _require(isinstance(value, Mapping), "a table", value, path)
        yield from _faults_of_size(shape, value, path, "length")
        for key, each in value.items():
            yield from _faults(shape.key, key, path)
            yield from _faults(shape.value, each, f"{path}.{key}.member")
    elif kind == "timestamp" and isinstance(value, datetime):
        return
    elif kind in ("integer", "long", "float", "double", "timestamp"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _ENDLESS
        _require(number and (kind not in ("integer", "long") or value == int(value)), f"a {kind}", value, path)
        yield from _faults_of_size(shape, value, path, "value")
    elif kind == "boolean":
        _require(isinstance(value, bool), "a boolean", value, path)
    elif kind == "blob":
        _require(isinstance(value, bytes) or _is_base64(value), "base64", value, path)
    else:
        _require(isinstance(value, str), "a string", value, path)
        yield from _faults_of_text(shape, value, path)


def _faults_of_structure(shape: Any, value: Any, path: str) -> Iterator[str]:
    _require(isinstance(value, Mapping), "a structure", value, path or "the request")
    for name in shape.required_members:
        if value.get(name) is None:
            yield _fault("null", _below(path, name), "Member must not be null", quoted=False)
    if shape.is_tagged_union and len(value) != 1:
        yield f"Invalid number of parameters set for the union at {path!r}: set exactly one, not {sorted(value)}"
    for name, each in value.items():
        if name not in shape.members:
            yield f"Unknown member {name!r} at {path or 'the request'!r}; it must be one of {sorted(shape.members)}"
        elif each is not None:
            yield from _faults(shape.members[name], each, _below(path, name))


def _faults_of_text(shape: Any, value: str, path: str) -> Iterator[str]:
    enum = shape.enum
    if enum:
        if value not in enum:
            yield _fault(value, path, f"Member must satisfy enum value set: [{', '.join(enum)}]")
        return
    sizes = list(_faults_of_size(shape, value, path, "length"))
    yield from sizes
    pattern = shape.metadata.get("pattern")
    if pattern and not sizes and not _matches(pattern, value):
        yield _fault(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _faults_of_size(shape: Any, value: Any, path: str, what: str) -> Iterator[str]:
    size = value if what == "value" else len(value)
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _fault(value, path, f"Member must have {what} greater than or equal to {least}")
    if most is not None and size > most:
        yield _fault(value, path, f"Member must have {what} less than or equal to {most}")


def _fault(value: Any, path: str, rule: str, *, quoted: bool = True) -> str:
    text = str(value)
    shown = text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."
    return f"Value {repr(shown) if quoted else shown} at {path!r} failed to satisfy constraint: {rule}"


def _require(condition: bool, expected: str, value: Any, path: str) -> None:
    if not condition:
        raise WrongTypeError(f"{path} must be {expected}, not {type(value).__name__}")


def _below(path: str, name: str) -> str:
    """The path of a member in messages, such as `inputDataConfig.1.member.channelName`."""
    word = name[:1].lower() + name[1:]
    return f"{path}.{word}" if path else word


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except ValueError:
        return False


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern compiled for Python; None if only Java supports it."""
    for theirs, ours in _JAVA_CLASSES.items():
        pattern = pattern.replace(theirs, ours)
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None
