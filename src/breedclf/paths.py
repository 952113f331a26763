"""Paths that a user gives: `~` is the home folder, and an empty one is refused."""

from __future__ import annotations

import os
from pathlib import Path

from breedclf.errors import ConfigError


def user_path(value: str | os.PathLike[str], what: str) -> Path:
    """The path that a user gave, with `~` expanded; `what` names the setting or argument in messages.

    A name such as `~$draft.jpg`, which begins with a tilde and names nobody's home, stays as it is.

    Raises:
        ConfigError: it is empty, as an unset variable of a shell makes it, or holds a zero byte.

    Example:
        >>> user_path("runs/dogs", "output").as_posix()
        'runs/dogs'
    """
    text = os.fspath(value)
    if not text.strip():
        raise ConfigError(
            f"{what} is empty: give a path, . for the current folder; is a variable of the shell not set?"
        )
    if "\0" in text:
        raise ConfigError(f"{what}={text!r} holds a zero byte, which no path can")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def user_uri(value: str, what: str) -> str:
    """A URI or a path that a user gave; `~` is expanded at the start of a path, and in `sqlite:///~/runs.db`.

    Raises:
        ConfigError: it is empty.

    Example:
        >>> user_uri("http://127.0.0.1:5000", "mlflow_uri")
        'http://127.0.0.1:5000'
    """
    scheme, separator, path = value.rpartition(":///")
    if path.startswith("~") or not (separator or value.strip()):
        return f"{scheme}{separator}{user_path(path, what)}"
    return value
