"""Files of settings: YAML, TOML or JSON, told by the suffix."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from breedclf.errors import ConfigError


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML, TOML or JSON file of settings into a dictionary.

    Raises:
        ConfigError: the file can't be read, isn't valid, or doesn't hold a table of settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} can't be read: {error}") from error
    try:
        values = _parse(text, path)
    except ValueError as error:
        raise ConfigError(f"settings file {path} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"settings file {path} must hold a table of settings, not {type(values).__name__}")
    return values


def render_settings(values: dict[str, Any], path: Path) -> str:
    """The settings as the text of a file of that suffix.

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


def _parse(text: str, path: Path) -> object:
    match path.suffix.lower():
        case ".json":
            return json.loads(text)
        case ".toml":
            return tomllib.loads(text)
        case ".yaml" | ".yml":
            import yaml

            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from error
    raise ConfigError(f"settings file {path}: use .yaml, .toml or .json, not {path.suffix or 'no suffix'!r}")
