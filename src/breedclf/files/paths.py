"""Paths that a user gives: `~` is the home folder, and an empty one is refused."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from breedclf.errors import ConfigError
from breedclf.text.printable import storable

StrPath = str | os.PathLike[str]
"""A path as users give it."""


def user_path(value: StrPath, what: str) -> Path:
    """A path given by the user, with `~` expanded; `what` names the setting or argument in messages.

    A name such as `~$draft.jpg`, which starts with a tilde but isn't a home folder, stays unchanged.

    Raises:
        ConfigError: it is empty, for example because a shell variable is unset, or contains a null byte.

    Example:
        >>> user_path("runs/dogs", "output").as_posix()
        'runs/dogs'
    """
    text = os.fspath(value)
    if not text.strip():
        raise ConfigError(f"{what} is empty: give a path, or . for the current folder; is a shell variable unset?")
    if "\0" in text:
        raise ConfigError(f"{what}={text!r} contains a null byte, which paths can't")
    if not text.startswith("~"):  # Path would drop the dot of ./~
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def text_path(value: StrPath, what: str) -> Path:
    """A path given by the user whose files are opened by libraries that only accept UTF-8 names.

    Raises:
        ConfigError: it is empty or isn't UTF-8.
    """
    path = user_path(value, what)
    if storable(str(path)) != str(path):
        raise ConfigError(f"{what}={str(path)!r} isn't UTF-8: rename that folder, or choose another one")
    return path


def user_uri(value: str, what: str) -> str:
    """A URI or path given by the user; `~` is expanded at the start of a path, and in `sqlite:///~/runs.db`.

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
    """The argparse type of a path."""
    try:
        return user_path(text, "the path")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path_or_uri_argument(text: str) -> str:
    """The argparse type of a path or URI: unchanged except that `~` is expanded."""
    path = path_argument(text)
    return str(path) if text.startswith("~") else text
