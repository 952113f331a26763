"""Backends by name: the one place that lists them; each is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from breedclf.errors import ConfigError, MissingExtraError
from breedclf.jobs import Backend

DEFAULT_BACKEND = "local"
_CLASS_OF = {
    "emulator": "breedclf.backends.sagemaker.emulated:EmulatorBackend",
    "inline": "breedclf.backends.inline:InlineBackend",
    "local": "breedclf.backends.local.backend:LocalBackend",
    "sagemaker": "breedclf.backends.sagemaker.backend:SageMakerBackend",
}


def backend_named(name: str, **options: Any) -> Backend:
    """Make the backend of this name, or your own with `module:class` as name.

    Raises:
        ConfigError: there is none of that name, or it doesn't accept these options.
        MissingExtraError: it isn't installed.
    """
    location = _CLASS_OF.get(name, name)
    if ":" not in location:
        raise ConfigError(f"backend={name!r}: choose {', '.join(backend_names())}, or module:class for your own class")
    module, _, attribute = location.partition(":")
    try:
        backend_class = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"backend={name!r} needs {error.name}, which is not installed; "
            f"choose {', '.join(backend_names())} or install what it needs"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"backend={name!r}: module {module} has no {attribute}") from error
    try:
        return cast(Backend, backend_class(**options))
    except TypeError as error:
        raise ConfigError(f"backend={name!r}: {error}") from error


def backend_of(backend: Backend | str | None) -> Backend:
    """The backend that a user chose: an object, or a name as for `backend_named`; "local" if None.

    Raises:
        ConfigError: there is none of that name.
        MissingExtraError: it isn't installed.
    """
    return backend_named(backend or DEFAULT_BACKEND) if backend is None or isinstance(backend, str) else backend


def backend_names() -> list[str]:
    """The names that `backend_named` accepts."""
    return sorted(_CLASS_OF)
