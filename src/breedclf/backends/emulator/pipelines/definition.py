"""A pipeline's definition: checked before it is stored, and its expressions resolved when it runs; pure.

Source: "SageMaker pipeline definition JSON schema", version 2020-12-01, of which this is a subset.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from breedclf.backends.emulator.protocol import ServiceError

Step = Mapping[str, Any]
Properties = Callable[[str], Mapping[str, Any]]
"""The properties of a step that has succeeded, by its name."""

OPERATIONS = {"Tuning": "CreateHyperParameterTuningJob", "RegisterModel": "CreateModelPackage"}
_VERSION = "2020-12-01"
_TYPES = (*OPERATIONS, "Condition", "Fail")
_EMPTY_KEYS = ("Parameters", "PipelineExperimentConfig", "MlflowConfig")
_STEP_KEYS = {"Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_PATH = re.compile(r"Steps\.(?P<step>[A-Za-z0-9\-_]{1,64})\.(?P<path>\w+(\[\d+\])?(\.\w+(\[\d+\])?)*)")


def steps_of(text: str) -> list[Step]:
    """The steps of a definition, which run in their order.

    Raises:
        ServiceError: the definition is invalid, or has a part that isn't emulated.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"the definition isn't JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Steps"), list):
        raise _invalid("the definition needs a list of Steps")
    if document.get("Version") != _VERSION:
        raise _invalid(f"Version must be {_VERSION}")
    for key in _EMPTY_KEYS:
        if document.get(key):
            raise _not_emulated(key)
    names: list[str] = []
    for step in document["Steps"]:
        _check(step, names, inner=False)
    return list(document["Steps"])


def resolved(value: Any, properties: Properties) -> Any:
    """A value with its expressions replaced by the properties of earlier steps.

    Raises:
        ServiceError: a step has no such property.

    Example:
        >>> joined = {"Std:Join": {"On": "/", "Values": ["s3://mine", {"Get": "Steps.Tune.BestTrainingJob.Name"}]}}
        >>> resolved({"Url": joined}, lambda step: {"BestTrainingJob": {"Name": "dogs-1"}})
        {'Url': 's3://mine/dogs-1'}
    """
    if isinstance(value, list):
        return [resolved(each, properties) for each in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"Get"}:
        return _property(str(value["Get"]), properties)
    if set(value) == {"Std:Join"}:
        joined = value["Std:Join"]
        return joined.get("On", "").join(str(resolved(each, properties)) for each in joined["Values"])
    return {name: resolved(each, properties) for name, each in value.items()}


def holds(condition: Mapping[str, Any], properties: Properties) -> bool:
    """Whether a condition is true."""
    left, right = (resolved(condition[side], properties) for side in ("LeftValue", "RightValue"))
    try:
        return _COMPARISONS[condition["Type"]](left, right)
    except TypeError as error:
        raise _invalid(f"{left!r} and {right!r} can't be compared") from error


def _check(step: Any, names: list[str], *, inner: bool) -> None:
    """Check a step, which may refer to `names`, and add its name to them."""
    if not isinstance(step, dict) or not isinstance(step.get("Arguments"), dict):
        raise _invalid("each step needs a Name, a Type and Arguments")
    name, kind = step.get("Name"), step.get("Type")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(f"step name {name!r} must be 1 to 64 letters, digits, hyphens and underscores")
    if name in names:
        raise _invalid(f"step name {name!r} is used more than once")
    if kind not in _TYPES or (inner and kind == "Condition"):
        raise _not_emulated(f"a {'nested ' if kind in _TYPES else ''}step of type {kind}")
    for key in sorted(set(step) - _STEP_KEYS):
        raise _not_emulated(f"{key} of a step")
    for other in step.get("DependsOn", ()):
        _require_earlier(other, names)
    arguments = step["Arguments"]
    branches = {key: arguments.get(key) or [] for key in ("IfSteps", "ElseSteps")} if kind == "Condition" else {}
    for used in _used({key: value for key, value in arguments.items() if key not in branches}):
        _require_earlier(used, names)
    if kind == "Condition":
        _check_conditions(arguments)
    names.append(name)
    for branch in branches.values():
        for each in branch:
            _check(each, names, inner=True)


def _check_conditions(arguments: Mapping[str, Any]) -> None:
    conditions = arguments.get("Conditions")
    if not isinstance(conditions, list) or not conditions:
        raise _invalid("a condition step needs Conditions")
    for each in conditions:
        if not isinstance(each, dict) or each.get("Type") not in _COMPARISONS:
            raise _not_emulated(f"a condition of type {each.get('Type') if isinstance(each, dict) else each}")
        if not {"LeftValue", "RightValue"} <= set(each):
            raise _invalid("a condition needs a LeftValue and a RightValue")


def _used(value: Any) -> Iterator[str]:
    """The steps that the expressions in a value refer to."""
    if isinstance(value, list):
        for each in value:
            yield from _used(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "Get":
                yield _parts(str(each))[0]
            elif key.startswith("Std:") and key != "Std:Join":
                raise _not_emulated(key)
            elif key == "Std:Join" and not (isinstance(each, dict) and isinstance(each.get("Values"), list)):
                raise _invalid("Std:Join needs Values")
            else:
                yield from _used(each)


def _property(expression: str, properties: Properties) -> Any:
    step, path = _parts(expression)
    value: Any = properties(step)
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise _invalid(f"{expression} doesn't exist") from None
    return value


def _parts(expression: str) -> tuple[str, Sequence[str | int]]:
    """The step of an expression, and the keys of its property."""
    found = _PATH.fullmatch(expression)
    if found is None:
        raise _not_emulated(f"Get of {expression}")
    keys = re.findall(r"\w+", found["path"])
    return found["step"], [int(key) if key.isdigit() else key for key in keys]


def _require_earlier(name: Any, names: Sequence[str]) -> None:
    if name not in names:
        raise _invalid(f"there is no step {name!r} before the one that refers to it")


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", f"Unable to parse pipeline definition: {message}.")


def _not_emulated(what: str) -> ServiceError:
    return ServiceError("ValidationException", f"Pipelines with {what} aren't emulated by breedclf's emulator.")


def refuse(message: str) -> NoReturn:
    """Refuse a call.

    Raises:
        ServiceError: always.
    """
    raise ServiceError("ValidationException", message)
