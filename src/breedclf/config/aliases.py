"""Old names that are still accepted, in one place: settings, their values, flags and keyword arguments.

An old name works wherever the new one does, without a warning, and is never shown. Giving both is refused. Public
Python names that are renamed or removed raise a DeprecationWarning instead (docs/reference/compatibility.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from breedclf.errors import ConfigError

SETTINGS = {
    "accumulate": "gradient_accumulation_steps",
    "prepared_pictures": "decoded_cache",
    "train_pictures": "train_images",
}
VALUES = {"head": {"standardised": "standardized"}}
FLAGS = {
    "--idle-timeout": "--idle-seconds",
    "--ttl": "--ttl-seconds",
}
KEYWORDS = {
    "artifact": "model",
    "idle_timeout": "idle_seconds",
    "most_pictures": "most_images",
    "picture": "image",
    "pictures": "images",
    "timeout": "timeout_seconds",
    "ttl": "ttl_seconds",
}

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def renamed_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under their new names, with new names in place of old values.

    Raises:
        ConfigError: a setting is given under its old and its new name.

    Example:
        >>> renamed_settings({"accumulate": 2, "head": "standardised"})
        {'gradient_accumulation_steps': 2, 'head': 'standardized'}
    """
    return {name: renamed_value(name, value) for name, value in _renamed(values, SETTINGS).items()}


def renamed_value(setting: str, value: Any) -> Any:
    """A setting's value, or the new name of an old one."""
    return VALUES.get(setting, {}).get(value, value) if isinstance(value, str) else value


def renamed_flags(arguments: Sequence[str]) -> list[str]:
    """A command line's arguments with new flags in place of old ones.

    Raises:
        ConfigError: a flag is given under its old and its new name.

    Example:
        >>> renamed_flags(["deploy", "model", "--ttl=60"])
        ['deploy', 'model', '--ttl-seconds=60']
    """
    flags = all_flags()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [argument.partition("=") for argument in arguments[:end]]
    used = {name for name, _, _ in words}
    for old, new in flags.items():
        if old in used and new in used:
            raise ConfigError(_both(old, new))
    return [*(flags.get(name, name) + equals + value for name, equals, value in words), *arguments[end:]]


def all_flags() -> dict[str, str]:
    """Every old flag and the new one, those of settings included."""
    pairs = dict(FLAGS)
    for old, new in SETTINGS.items():
        for prefix in ("--", "--no-"):
            pairs[prefix + old.replace("_", "-")] = prefix + new.replace("_", "-")
    return pairs


def accept_old_keywords(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function so that it accepts the old names of its keyword arguments, too.

    Example:
        >>> @accept_old_keywords
        ... def wait(*, timeout_seconds: float) -> float:
        ...     return timeout_seconds
        >>> wait(timeout=2)
        2
    """
    code = getattr(function, "__code__")  # noqa: B009 - a Callable need not have one, for type checkers
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    old_names = {old: new for old, new in KEYWORDS.items() if new in names and old not in names}
    assert old_names, f"{function} has no renamed keyword"

    @functools.wraps(function)
    def renamed(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        if not old_names.keys().isdisjoint(keywords):
            return function(*arguments, **_renamed(keywords, old_names))
        return function(*arguments, **keywords)

    return renamed


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for name in values:
        if name in names and names[name] in values:
            raise ConfigError(_both(name, names[name]))
    return {names.get(name, name): value for name, value in values.items()}


def _both(old: str, new: str) -> str:
    return f"{old} is the old name of {new}: give only {new}"
