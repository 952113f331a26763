"""Search spaces: ranges and choices for training settings, validated before any job starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Tag, model_validator

from breedclf.config import Settings, TrainingConfig, nearest
from breedclf.config.architectures import architecture_name
from breedclf.config.base import Decides, collects_errors, decides
from breedclf.config.import_path import ImportPath, paths_in
from breedclf.errors import ConfigError

Value = bool | int | float | str
Scaling = Literal["linear", "log"]
Values = dict[str, Value]

MAX_PARAMETERS = 30
MAX_CATEGORIES = 30
MAX_NAME_CHARS = 32

_WHY_NOT = {
    Decides.IMAGES: "changes the images that trials are evaluated on, so their objectives couldn't be compared",
    Decides.CHOICE: "is how trials are compared: set it as the objective of the tuning job",
    Decides.RECORDS: "affects where or what is stored and reported, not what is learned",
}
NOT_TUNABLE = {
    name: _WHY_NOT[decides(TrainingConfig, name)]
    for name in TrainingConfig.model_fields
    if decides(TrainingConfig, name) in _WHY_NOT
} | {"start_from": "is the model that all trials continue"}
_OF_THE_MODEL = ("architecture", "dct_scaling", "weights")
_OWN_CODE = ("loss", "sampler")


class ParameterRange(Settings):
    """The values that a search may choose for a setting; base class of Continuous, Integer and Categorical.

    Example:
        >>> space: dict[str, ParameterRange] = {"epochs": Integer(1, 4), "head": Categorical("linear", "standardized")}
        >>> sorted(space)
        ['epochs', 'head']
    """

    @collects_errors
    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)


class Continuous(ParameterRange):
    """A range of real numbers, both ends included; `scaling="log"` samples orders of magnitude uniformly.

    Raises:
        ConfigError: the range is empty, reversed or not finite, or logarithmic and not above 0.

    Example:
        >>> Continuous(0.005, 0.01).low
        0.005
    """

    kind: Literal["continuous"] = "continuous"
    low: float
    high: float
    scaling: Scaling = "linear"

    @collects_errors
    def __init__(self, low: float, high: float, scaling: str = "linear", **fields: Any) -> None:
        super().__init__(low=low, high=high, scaling=scaling, **fields)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(type(self).__name__, self.low, self.high, self.scaling)
        return self

    def at(self, share: float) -> float:
        """The value at this position between low (0) and high (1)."""
        return min(self.high, max(self.low, _between(self.low, self.high, share, self.scaling)))

    def __str__(self) -> str:
        return _range_text(self.low, self.high, self.scaling)


class Integer(ParameterRange):
    """A range of whole numbers, both ends included; `scaling="log"` samples orders of magnitude uniformly.

    Raises:
        ConfigError: the range is empty, reversed or not of whole numbers, or logarithmic and not above 0.

    Example:
        >>> Integer(1, 4).at(0.99)
        4
    """

    kind: Literal["integer"] = "integer"
    low: int
    high: int
    scaling: Scaling = "linear"

    @collects_errors
    def __init__(self, low: int, high: int, scaling: str = "linear", **fields: Any) -> None:
        super().__init__(low=low, high=high, scaling=scaling, **fields)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(type(self).__name__, self.low, self.high, self.scaling)
        return self

    def at(self, share: float) -> int:
        """The value at this position between low (0) and high (1); all whole numbers have intervals of equal length."""
        edge = 0.5 if self.low > 0 or self.scaling == "linear" else 0.0
        value = round(_between(self.low - edge, self.high + edge, share, self.scaling))
        return min(self.high, max(self.low, value))

    def __str__(self) -> str:
        return _range_text(self.low, self.high, self.scaling)


class Categorical(ParameterRange):
    """A list of choices: numbers, text or booleans.

    Raises:
        ConfigError: there is no value, a duplicate, or more than 30.

    Example:
        >>> Categorical(32, 64).values
        (32, 64)
    """

    kind: Literal["categorical"] = "categorical"
    values: tuple[Value, ...]

    @collects_errors
    def __init__(self, *choices: Value, **fields: Any) -> None:
        if any(isinstance(choice, list | tuple | dict | set) for choice in choices):
            raise ConfigError(f"Categorical({choices[0]!r}): give the choices one by one, as in Categorical(32, 64)")
        super().__init__(**({**fields, "values": choices} if "values" not in fields else fields))

    @model_validator(mode="after")
    def _has_choices(self) -> Self:
        if not self.values:
            raise ValueError("Categorical() has no value: give at least one, as in Categorical(32, 64)")
        if len(self.values) > MAX_CATEGORIES:
            raise ValueError(
                f"Categorical has {len(self.values)} values; a tuning job takes at most {MAX_CATEGORIES}: "
                "use a range, Continuous(low, high) or Integer(low, high)"
            )
        twice = [value for i, value in enumerate(self.values) if value in self.values[:i]]
        if twice:
            raise ValueError(f"Categorical{self.values}: {twice[0]!r} is listed more than once")
        if any(isinstance(value, float) and not math.isfinite(value) for value in self.values):
            raise ValueError(f"Categorical{self.values}: every number must be finite")
        return self

    def __str__(self) -> str:
        return ", ".join(_number_text(value) for value in self.values)


def _kind(parameter: object) -> object:
    return parameter.get("kind") if isinstance(parameter, dict) else getattr(parameter, "kind", None)


Parameter = Annotated[
    Annotated[Continuous, Tag("continuous")]
    | Annotated[Integer, Tag("integer")]
    | Annotated[Categorical, Tag("categorical")],
    Discriminator(_kind),
]
Space = dict[str, Parameter]


def checked_space(space: Mapping[str, Any], config: TrainingConfig, weights: Mapping[str, str] | None = None) -> Space:
    """Validate a space: every name and value must be valid for this training configuration.

    `weights` are those of each architecture that doesn't use the configuration's.

    Raises:
        ConfigError: the space is empty or too large, a name is unknown or can't be tuned, or a value is out of range.
    """
    if not space:
        raise ConfigError(
            'the space is empty: add at least one setting, as in {"learning_rate": Continuous(0.005, 0.01)}'
        )
    if len(space) > MAX_PARAMETERS:
        raise ConfigError(f"the space has {len(space)} tunable parameters; a tuning job takes at most {MAX_PARAMETERS}")
    for name, parameter in space.items():
        _check_name(name)
        if config.start_from is not None and name in _OF_THE_MODEL:
            raise ConfigError(f"{name!r} can't be tuned with start_from={str(config.start_from)!r}: the model sets it")
        _check_parameter(name, parameter, config, weights or {})
    return dict(space)


def with_architecture_names(parameter: Parameter) -> Parameter:
    """The choices of networks in their usual spelling; a name that can't be one is left for `checked_space`.

    Raises:
        ConfigError: a network is listed twice.
    """
    if not isinstance(parameter, Categorical):
        return parameter
    return Categorical(*map(_architecture, parameter.values))


def _architecture(value: Value) -> Value:
    try:
        return str(architecture_name(value)) if isinstance(value, str) else value
    except ValueError:
        return value


def with_weights(values: Mapping[str, Value], weights: Mapping[str, str]) -> Values:
    """The values of a trial with the weights that belong to its architecture.

    Example:
        >>> with_weights({"architecture": "convnext_tiny"}, {"convnext_tiny": "tiny.pth"})
        {'architecture': 'convnext_tiny', 'weights': 'tiny.pth'}
    """
    found = weights.get(str(values.get("architecture")))
    return dict(values) if found is None else {**values, "weights": found}


def own_code_in(space: Mapping[str, Parameter]) -> dict[str, ImportPath]:
    """The own code that trials may use, by its role; it is sent with jobs that run several of them."""
    choices = ((name, space.get(name)) for name in _OWN_CODE)
    return {
        f"{name} ({value})": path
        for name, parameter in choices
        if isinstance(parameter, Categorical)
        for value in parameter.values
        for path in paths_in({name: str(value)}).values()
    }


def is_whole(name: str) -> bool:
    """Whether this training setting only accepts whole numbers."""
    annotation = TrainingConfig.model_fields[name].annotation
    return annotation is int or (int in get_args(annotation) and float not in get_args(annotation))


def is_number(name: str) -> bool:
    """Whether this training setting accepts numbers."""
    annotation = TrainingConfig.model_fields[name].annotation
    return is_whole(name) or annotation is float or float in get_args(annotation)


def size(space: Mapping[str, Parameter]) -> int | None:
    """The number of points in the space; None if it has a range of real numbers."""
    total = 1
    for parameter in space.values():
        if isinstance(parameter, Continuous):
            return None
        total *= len(parameter.values) if isinstance(parameter, Categorical) else parameter.high - parameter.low + 1
    return total


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_CHARS:
        raise ConfigError(f"parameter name {name!r} has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed")
    if name not in TrainingConfig.model_fields:
        tunable = set(TrainingConfig.model_fields) - set(NOT_TUNABLE)
        raise ConfigError(f"unknown parameter {name!r} in the space: {nearest(name, tunable)}")
    if name in NOT_TUNABLE:
        raise ConfigError(f"{name!r} can't be tuned: it {NOT_TUNABLE[name]}")


def _check_parameter(name: str, parameter: object, config: TrainingConfig, weights: Mapping[str, str]) -> None:
    if not isinstance(parameter, Continuous | Integer | Categorical):
        hint = (
            f"Categorical({', '.join(map(repr, parameter))})" if isinstance(parameter, list) else "Categorical(32, 64)"
        )
        raise ConfigError(f"{name}={parameter!r}: write Continuous(low, high), Integer(low, high) or {hint}")
    if isinstance(parameter, Continuous) and is_whole(name):
        raise ConfigError(
            f"{name} takes whole numbers: write Integer({parameter.low:g}, {parameter.high:g}) instead of Continuous"
        )
    if not isinstance(parameter, Categorical) and not is_number(name):
        raise ConfigError(f"{name} isn't numeric, so a range is meaningless: use Categorical")
    ends = parameter.values if isinstance(parameter, Categorical) else (parameter.low, parameter.high)
    for value in ends:
        try:
            config.replace(**with_weights({name: value}, weights))
        except ConfigError as error:
            raise ConfigError(f"the space contains an invalid value: {error}") from error
        if name in _OWN_CODE and any(path.is_file for path in paths_in({name: str(value)}).values()):
            raise ConfigError(f"{name}={value!r}: in a search, give a module instead of a file, as in MODULE:NAME")


def _check_range(name: str, low: float, high: float, scaling: Scaling) -> None:
    shown = f"{name}({low:g}, {high:g})"
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{shown}: both ends must be finite numbers")
    if low > high:
        raise ValueError(f"{shown}: the range is reversed; write {name}({high:g}, {low:g})")
    if low == high:
        raise ValueError(f"{shown}: the range is empty; set the value to {low:g} in the training settings instead")
    if scaling == "log" and low <= 0:
        raise ValueError(
            f'{shown} with scaling="log": a logarithmic range must be above 0; start it at 1e-5, for example'
        )


def _between(low: float, high: float, share: float, scaling: Scaling) -> float:
    if scaling == "log":
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)


def _range_text(low: float, high: float, scaling: Scaling) -> str:
    return f"{_number_text(low)} to {_number_text(high)}" + (", log" if scaling == "log" else "")


def _number_text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
