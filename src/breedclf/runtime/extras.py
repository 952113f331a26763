"""Packages that only an extra installs: whoever needs one says so here, before the import, and none reports home."""

from __future__ import annotations

from importlib.util import find_spec

from breedclf.errors import MissingExtraError
from breedclf.runtime.telemetry import opt_out


def need(*packages: str, purpose: str, install: str) -> None:
    """See that the packages are there, without importing them, and switch their telemetry off.

    Raises:
        MissingExtraError: one isn't; the message names it and what to install.
    """
    opt_out()
    missing = [package for package in packages if not _is_there(package)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"{purpose} needs {', '.join(missing)}, which {verb} not installed: pip install {install}"
        )


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # what a module that was blocked on purpose gives
        return False
