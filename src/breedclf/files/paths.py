"""Paths that a user gives: `~` is the home folder, and an empty one is refused."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from breedclf.errors import ConfigError
from breedclf.text.printable import storable


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
    if not text.startswith("~"):  # Path takes the dot off ./~
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def text_path(value: str | os.PathLike[str], what: str) -> Path:
    """The same for a place whose files other libraries open, which take only names that are text.

    Raises:
        ConfigError: it is empty or isn't UTF-8.
    """
    path = user_path(value, what)
    if storable(str(path)) != str(path):
        raise ConfigError(f"{what}={str(path)!r} isn't UTF-8: rename that folder, or choose another")
    return path


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


def path_argument(text: str) -> Path:
    """The type of an argument of the command line that is a path."""
    try:
        return user_path(text, "the path")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def place_argument(text: str) -> str:
    """The type of an argument that is a path or something else, such as a URL: as it was given but for `~`."""
    path = path_argument(text)
    return str(path) if text.startswith("~") else text
