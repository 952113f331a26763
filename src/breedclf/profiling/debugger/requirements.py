"""Checks whether smdebug can run in this environment, and whether a folder is one of its trials."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from breedclf.errors import MissingExtraError

# What smdebug 1.0.34 imports, in part undeclared, and the first version of each that it doesn't work with.
NEEDED: dict[str, tuple[int, ...] | None] = {
    "smdebug": None,
    "pandas": None,
    "requests": None,
    "psutil": None,
    "numpy": (2, 3),
    "protobuf": (3, 20, 4),
}
_REMEDY = (
    "smdebug needs versions that the rest of breedclf doesn't; give it an environment of its own: "
    "python -m venv debugger && debugger/bin/pip install 'breedclf[debugger]'"
)


def is_trial(path: Path) -> bool:
    """Whether smdebug saved tensors in this folder."""
    return any(path.glob("collections/*/*_collections.json"))


def problems(version_of: Callable[[str], str | None] | None = None) -> list[str]:
    """Describe what keeps smdebug from working; empty if nothing does.

    Args:
        version_of: returns the installed version of a package, None if it isn't installed; this environment's by
            default.

    Example:
        >>> problems({"smdebug": "1.0.34", "numpy": "2.4.6"}.get)[-2:]
        ['numpy is 2.4.6, must be below 2.3', 'protobuf is not installed']
    """
    version_of = version_of or _installed
    found = []
    for name, limit in NEEDED.items():
        version = version_of(name)
        if version is None:
            found.append(f"{name} is not installed")
        elif limit is not None and _numbers(version) >= limit:
            found.append(f"{name} is {version}, must be below {'.'.join(map(str, limit))}")
    return found


def load_smdebug(module: str, *, version_of: Callable[[str], str | None] | None = None) -> Any:
    """Import one of smdebug's modules.

    Raises:
        MissingExtraError: smdebug isn't installed, or numpy or protobuf are too new for it.
    """
    if found := problems(version_of):
        raise MissingExtraError(f"smdebug can't work here: {'; '.join(found)}. {_REMEDY}")
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")  # it logs to stdout, which would break `--json`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its generated protobuf code causes many warnings
        try:
            return import_module(module)
        except ImportError as error:
            raise MissingExtraError(f"smdebug can't be loaded: {error}. {_REMEDY}") from error


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `2.3.0rc1` is 2, 3."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
