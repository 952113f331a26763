"""Names of jobs and endpoints: what is allowed, and how new ones are made."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

from breedclf.errors import ConfigError

MAX_NAME_CHARS = 63

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def new_name(prefix: str) -> str:
    """A unique name: the prefix, the time and a few random digits.

    Example:
        >>> new_name("train").startswith("train-20")
        True
    """
    return check_name(f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")


def check_name(name: str) -> str:
    """Return a valid job name.

    Raises:
        ConfigError: it has more than 63 characters, or holds something other than letters, digits and inner hyphens.
    """
    if len(name) > MAX_NAME_CHARS:
        raise ConfigError(f"job name {name!r} has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"job name {name!r}: use letters, digits and hyphens; the first and last can't be a hyphen")
    return name


def is_name(name: str) -> bool:
    """Whether a job or an endpoint may have this name."""
    return len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name) is not None
