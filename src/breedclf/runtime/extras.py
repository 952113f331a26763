"""Packages that only an extra installs: checked before their import, with their telemetry switched off."""

from __future__ import annotations

from importlib.util import find_spec

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


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # raised for a module that was blocked on purpose
        return False
