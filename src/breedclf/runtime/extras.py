"""Packages that only an extra installs: checked before their import, with their telemetry switched off."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import NoReturn

from breedclf.config.architectures import TIMM
from breedclf.errors import MissingExtraError
from breedclf.runtime.telemetry import opt_out


def require_extra(*packages: str, purpose: str, install: str) -> None:
    """Check that packages are installed, without importing them, and switch their telemetry off.

    Args:
        packages: names as in an import statement.
        purpose: what needs them; the message starts with it.
        install: what to install, as an argument of `pip install`.

    Raises:
        MissingExtraError: a package isn't installed; the message names it and what to install.
    """
    opt_out()
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"{purpose} needs {', '.join(missing)}, which {are} not installed: pip install {install}"
        )


def network_requirements(architecture: str) -> tuple[str, ...]:
    """What pip must install elsewhere for a network to work as it does here: timm, in the version installed here.

    Raises:
        MissingExtraError: it is timm's, and timm isn't installed.

    Example:
        >>> network_requirements("resnet50")
        ()
    """
    if not architecture.startswith(TIMM):
        return ()
    require_extra("timm", purpose=f"architecture={architecture}", install="'breedclf[timm]'")
    return (f"timm=={version('timm')}",)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # raised for a module that was blocked on purpose
        return False


class _UnavailableError(MissingExtraError, AttributeError):
    """An attribute of a class whose packages are missing; `hasattr` and inspection take it for absent."""


class _Unavailable(type):
    """The type of classes whose packages are missing: it explains what to install when one is used."""

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        raise MissingExtraError(str(cls.__doc__))

    def __getattr__(cls, name: str) -> NoReturn:
        raise _UnavailableError(f"{cls.__name__}.{name}: {cls.__doc__}")


def unavailable_class(name: str, error: MissingExtraError) -> type:
    """A class in place of one whose import raised `error`: it can be imported and inspected, but not used.

    Example:
        >>> Missing = unavailable_class("Missing", MissingExtraError("Missing needs abc: pip install abc"))
        >>> hasattr(Missing, "upload"), isinstance(3, Missing)
        (False, False)
        >>> Missing()
        Traceback (most recent call last):
        breedclf.errors.MissingExtraError: Missing needs abc: pip install abc
    """
    return _Unavailable(name, (), {"__doc__": str(error), "__module__": "breedclf"})
