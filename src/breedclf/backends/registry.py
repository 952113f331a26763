"""Back ends by name: the one place that knows which there are; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from breedclf.errors import ConfigError, MissingExtraError
from breedclf.jobs import Backend

_CLASS_OF = {
    "inline": "breedclf.backends.inline:InlineBackend",
    "local": "breedclf.backends.local.backend:LocalBackend",
    "sagemaker": "breedclf.backends.sagemaker.backend:SageMakerBackend",
}


def backend_named(name: str, **options: Any) -> Backend:
    """Make the back end of this name; or, with `module:class` as name, one of one's own.

    Raises:
        ConfigError: there is none of that name, or it doesn't take these options.
        MissingExtraError: it isn't installed.
    """
    where = _CLASS_OF.get(name, name)
    if ":" not in where:
        raise ConfigError(f"backend={name!r}: choose {', '.join(backend_names())}, or module:class of your own")
    module, _, attribute = where.partition(":")
    try:
        maker = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"backend={name!r} needs {error.name}, which is not installed; "
            f"choose {', '.join(backend_names())} or install what it needs"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"backend={name!r}: {module} has no {attribute}") from error
    try:
        return cast(Backend, maker(**options))
    except TypeError as error:
        raise ConfigError(f"backend={name!r}: {error}") from error


def backend_names() -> list[str]:
    """The names that `backend_named` knows."""
    return sorted(_CLASS_OF)
