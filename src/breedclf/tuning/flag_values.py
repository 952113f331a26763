"""Ranges and lists of choices as they are written on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_origin

from breedclf.config import WEIGHTS_NAMES, TrainingConfig
from breedclf.config.architectures import architecture_name
from breedclf.errors import ConfigError
from breedclf.tuning.space import (
    NOT_TUNABLE,
    Categorical,
    Continuous,
    Integer,
    Parameter,
    Value,
    is_number,
    is_whole,
)

_NAMES = ("architecture", "freeze")
"""Settings whose choices are names, in which a colon doesn't mean a range."""
_NETWORK = re.compile(r"[A-Za-z0-9_:.]+")


def parse_parameter(name: str, text: str) -> Parameter | None:
    """Parse a flag: `0.005:0.01` (a range), `1e-4:1e-1:log`, or `32,64` (choices); None if it is a single value.

    Only numeric settings, settings with fixed choices and networks can be searched; other text may contain punctuation.

    Raises:
        ConfigError: it is an invalid range or list.

    Example:
        >>> str(parse_parameter("learning_rate", "0.005:0.01"))
        '0.005 to 0.01'
        >>> str(parse_parameter("architecture", "resnet50,timm:vit_tiny_patch16_224"))
        'resnet50, timm:vit_tiny_patch16_224'
    """
    if name in NOT_TUNABLE or name not in TrainingConfig.model_fields:
        return None
    if name == "weights" and not _are_names_of_weights(text):
        return None
    is_text = name in _NAMES
    if not _has_choices(name) and not is_number(name) and name != "weights" and not is_text:
        return None
    if "," in text:
        return _parse_choices(name, text)
    if ":" in text and not is_text:
        return _parse_range(name, text)
    return None


def parameter_of(name: str, given: object) -> object:
    """A parameter of a space as files and Python give it: text as on the command line, a list of choices, or itself.

    Raises:
        ConfigError: text or a list isn't valid.

    Example:
        >>> str(parameter_of("batch_size", [32, 64])), str(parameter_of("epochs", "2:4"))
        ('32, 64', '2 to 4')
    """
    if isinstance(given, list | tuple):
        return Categorical(*given)
    found = parse_parameter(name, given) if isinstance(given, str) else given
    if found is None or isinstance(given, bool | int | float):
        raise ConfigError(
            f"{name}={given!r}: in a space, write a range or a list of choices (in YAML, a range of whole numbers "
            "needs quotes: '2:4')"
        )
    return found


def network_weights(text: str) -> tuple[str | None, str]:
    """Parse `NAME=FILE`: a network and its weights; a network of None for weights of all, also if their path has a `=`.

    Raises:
        ConfigError: there is no file after the name, or the name looks like that of a network and is none.

    Example:
        >>> network_weights("timm:vit_tiny_patch16_224=vit.pth"), network_weights("runs/lr=0.1/vit.pth")
        (('timm:vit_tiny_patch16_224', 'vit.pth'), (None, 'runs/lr=0.1/vit.pth'))
    """
    name, equals, file = text.partition("=")
    if not equals or Path(text).is_file():
        return None, text
    try:
        architecture = str(architecture_name(name))
    except ValueError as error:
        if _NETWORK.fullmatch(name):
            raise ConfigError(f"weights={text!r}: {error}") from error
        return None, text
    if not file:
        raise ConfigError(f"weights={text!r}: give a file after the =, as in {architecture}=FILE")
    return architecture, file


def _has_choices(name: str) -> bool:
    annotation = TrainingConfig.model_fields[name].annotation
    return annotation is bool or get_origin(annotation) is Literal


def _are_names_of_weights(text: str) -> bool:
    names = {name.lower() for name in WEIGHTS_NAMES}
    return "," in text and {part.strip().lower() for part in text.split(",")} <= names


def _parse_choices(name: str, text: str) -> Categorical:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise ConfigError(f"{name}={text!r}: a choice is missing before or after a comma")
    if name not in _NAMES and any(":" in part for part in parts):
        raise ConfigError(f"{name}={text!r}: either a range, low:high, or a list of choices, not both")
    return Categorical(*(_typed(name, part, text) for part in parts))


def _parse_range(name: str, text: str) -> Continuous | Integer:
    match = re.fullmatch(r"([^:]*):([^:]*?)(?::(linear|log))?", text.strip())
    if match is None or not match[1] or not match[2]:
        raise ConfigError(f"{name}={text!r}: a range is low:high or low:high:log, as in 0.005:0.01")
    if not is_number(name):
        raise ConfigError(f"{name}={text!r}: it isn't numeric, so a range is meaningless; list the choices")
    low, high = (_typed(name, part, text) for part in match.group(1, 2))
    scaling = match[3] or "linear"
    try:
        return Integer(int(low), int(high), scaling) if is_whole(name) else Continuous(float(low), float(high), scaling)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _typed(name: str, part: str, text: str) -> Value:
    """Convert one value of a flag to the setting's type."""
    if TrainingConfig.model_fields[name].annotation is bool:
        if part.lower() not in ("true", "false"):
            raise ConfigError(f"{name}={text!r}: {part!r} must be true or false")
        return part.lower() == "true"
    if not is_number(name):
        return part
    try:
        return int(part) if is_whole(name) else float(part)
    except ValueError as error:
        kind = "whole number" if is_whole(name) else "number"
        raise ConfigError(f"{name}={text!r}: {part!r} is not a {kind}") from error
