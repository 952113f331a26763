"""Settings files: YAML, TOML or JSON, by their suffix."""

from __future__ import annotations

import codecs
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from breedclf.errors import ConfigError
from breedclf.files.paths import user_path

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 10_000
MAX_DOTS = 200
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML, TOML or JSON settings file (at most 1 MB of UTF-8) into a dictionary.

    Raises:
        ConfigError: the file can't be read, isn't valid, is nested too deep, or isn't a table of settings.
    """
    path = user_path(path, "the settings file")
    text = read_text(path, "settings file")
    try:
        values = _parse(text, path)
        check_size(values, _children)
    except RecursionError as error:
        raise ConfigError(f"settings file {path} is nested too deep: at most {MAX_DEPTH} levels are allowed") from error
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"settings file {path} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"settings file {path} must contain a table of settings, not {type(values).__name__}")
    if odd := [name for name in values if not isinstance(name, str)]:
        raise ConfigError(f"settings file {path}: setting names must be text, not {odd[0]!r}; put it in quotes?")
    return values


def read_text(path: Path, what: str) -> str:
    """The text of a user's file: UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: it can't be read, is larger than 1 MB, or isn't UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path} can't be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{what} {path} is larger than {MAX_BYTES:,} bytes: is it the right file?")
    for mark, encoding in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise ConfigError(f"{what} {path} is {encoding}: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path} can't be read: it isn't UTF-8 ({error}); save it as UTF-8") from error
    if "\0" in text:
        raise ConfigError(f"{what} {path} contains zero bytes, as UTF-16 does: save it as UTF-8")
    return text


def render_settings(values: dict[str, Any], path: Path) -> str:
    """The settings as the text of a file with this suffix.

    Raises:
        ConfigError: the suffix is another one.
    """
    match path.suffix.lower():
        case ".json":
            return json.dumps(values, indent=2) + "\n"
        case ".toml":
            import tomli_w

            return tomli_w.dumps(values)
        case ".yaml" | ".yml":
            import yaml

            return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    raise ConfigError(f"settings file {path}: use .yaml, .toml or .json, not {path.suffix or 'no suffix'!r}")


def check_size(root: Any, children: Callable[[Any], Iterable[Any]]) -> None:
    """Refuse a tree that is too deep or too large; shared parts count each time they are referenced.

    Raises:
        ValueError: more than 20 levels or 10,000 values.
    """
    rest, count = [(root, 1)], 0
    while rest:
        value, depth = rest.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested too deep, or refers to itself: at most {MAX_DEPTH} levels are allowed")
        if count > MAX_VALUES:
            raise ValueError(f"it contains more than {MAX_VALUES:,} values, counting those of aliases each time")
        rest.extend((child, depth + 1) for child in children(value))


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _parse(text: str, path: Path) -> object:
    match path.suffix.lower():
        case ".json":
            return json.loads(text)
        case ".toml":
            return _parse_toml(text)
        case ".yaml" | ".yml":
            return _parse_yaml(text)
    raise ConfigError(f"settings file {path}: use .yaml, .toml or .json, not {path.suffix or 'no suffix'!r}")


def _parse_toml(text: str) -> object:
    """The values; tomllib's time for a dotted key grows with the square of its parts, so those are limited."""
    if any(part.count(".") > MAX_DOTS for part in re.split(r"[=\n,{}\[\]]", text)):
        raise ValueError(f"a dotted key has more than {MAX_DOTS} parts")
    return tomllib.loads(text)


def _parse_yaml(text: str) -> object:
    """The values, built only if the tree is small: merging tables repeats what they refer to."""
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        check_size(root, _children_in_yaml)
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    finally:
        loader.dispose()


def _children_in_yaml(node: Any) -> Iterable[Any]:
    if isinstance(node.value, str):
        return ()
    return [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
