"""Settings as they are written in a Python expression and on a command line, for doing a step alone."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from breedclf.backends.registry import DEFAULT_BACKEND
from breedclf.config import TrainingConfig
from breedclf.jobs import Backend
from breedclf.journey.settings import plain
from breedclf.tuning.space import Categorical, Parameter


def settings_shown(training: TrainingConfig, *, only: Collection[str] | None = None) -> dict[str, Any]:
    """The settings that differ from their defaults, without the dataset, as plain values; `only` some of them."""
    values = plain(training)
    return {
        name: values[name]
        for name, field in TrainingConfig.model_fields.items()
        if name not in ("data", "output")
        and name in training.model_fields_set
        and getattr(training, name) != field.default
        and (only is None or name in only)
    }


def config_python(training: TrainingConfig, **changes: object) -> str:
    """`TrainingConfig(...)` with the dataset and what differs from the defaults."""
    shown = {"data": str(training.data)} | settings_shown(training) | changes
    return f"TrainingConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def command(*words: str | Path, flags: Mapping[str, object] | None = None) -> str:
    """A command with its flags, quoted; True and False are flags without a value.

    Example:
        >>> command("breedclf", "tune", "my dogs", flags={"batch_size": "32,64", "calibration": False})
        "breedclf tune 'my dogs' --batch-size 32,64 --no-calibration"
    """
    parts = [str(word) for word in words]
    for name, value in (flags or {}).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            parts += [f"--{flag}", str(value)]
    return shlex.join(parts)


def backend_python(backend: Backend | None) -> str:
    """The argument that chooses the backend; nothing for this process."""
    return "" if backend is None else f", backend={backend.name!r}"


def backend_flag(backend: Backend | None, *, serving: bool = False) -> dict[str, object]:
    """The flag that chooses the backend; nothing where it is the default."""
    default = DEFAULT_BACKEND if serving else None
    name = DEFAULT_BACKEND if backend is None and serving else None if backend is None else backend.name
    return {} if name == default else {"backend": name}


def space_python(space: Mapping[str, Parameter]) -> str:
    """The space as a dictionary of parameters."""
    return f"{{{', '.join(f'{name!r}: {_parameter(each)}' for name, each in space.items())}}}"


def space_flags(space: Mapping[str, Parameter]) -> dict[str, object]:
    """The space as the flags of `breedclf tune`."""
    return {name: _flag_value(each) for name, each in space.items()}


def _parameter(parameter: Parameter) -> str:
    if isinstance(parameter, Categorical):
        return f"Categorical({', '.join(map(repr, parameter.values))})"
    scaling = "" if parameter.scaling == "linear" else f", {parameter.scaling!r}"
    return f"{type(parameter).__name__}({parameter.low!r}, {parameter.high!r}{scaling})"


def _flag_value(parameter: Parameter) -> str:
    if isinstance(parameter, Categorical):
        return ",".join(str(each).lower() if isinstance(each, bool) else str(each) for each in parameter.values)
    return f"{parameter.low!r}:{parameter.high!r}" + ("" if parameter.scaling == "linear" else f":{parameter.scaling}")
