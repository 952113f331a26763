"""Settings as files, job hyperparameters and environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from breedclf.config.aliases import renamed_settings
from breedclf.config.base import Settings
from breedclf.config.environment import settings_from_environment
from breedclf.config.files import read_settings, render_settings
from breedclf.config.hyperparameters import MAX_HYPERPARAMETERS, RESERVED_PREFIXES, decode, encode
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath, user_path
from breedclf.files.unknown_keys import warn_of_unknown_keys


class ConvertibleSettings(Settings):
    """Settings with the same names in files, hyperparameters and the environment."""

    @classmethod
    def from_file(cls, path: StrPath, **overrides: Any) -> Self:
        """Read a YAML, TOML or JSON file; keyword arguments win over its values.

        A file with a value for every setting that has a default, as `to_file` and training runs write it, may contain
        settings of later versions: they are ignored with a warning. In other files an unknown setting is an error.
        """
        return cls(**{**cls.values_in_file(path), **renamed_settings(overrides)})

    @classmethod
    def values_in_file(cls, path: StrPath) -> dict[str, Any]:
        """The values of a file, before they are validated; see `from_file`."""
        values = renamed_settings(read_settings(path))
        if values.get("data", "") is None:
            raise ConfigError("data has no value: give a path (in YAML a single ~ means no value; write ~/)")
        is_saved = all(name in values for name, field in cls.model_fields.items() if field.default is not None)
        return cls._known(values, os.fspath(path)) if is_saved else values

    @classmethod
    def from_saved(cls, values: Mapping[str, Any], source: str = "the saved settings") -> Self:
        """Settings that any version wrote; a warning names those of `source` that this version doesn't know."""
        return cls(**cls._known(renamed_settings(values), source))

    @classmethod
    def _known(cls, values: Mapping[str, Any], source: str) -> dict[str, Any]:
        warn_of_unknown_keys(source, values.keys() - cls.model_fields.keys())
        return {name: value for name, value in values.items() if name in cls.model_fields}

    def to_file(self, path: StrPath) -> None:
        """Write all settings as YAML, TOML or JSON, by the file's suffix."""
        path = user_path(path, "path")
        try:
            path.write_text(render_settings(self.to_dict(), path), encoding="utf-8")
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{path}: a path in the settings isn't valid text ({error.object!r}), which {path.suffix} can't store; "
                "rename it, or write .json"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values (paths as text), without fields that are None."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_hyperparameters(self) -> dict[str, str]:
        """The settings as the flat text pairs that a job carries; text that looks like another type is quoted as JSON.

        Raises:
            ConfigError: a value is longer than 2,500 characters, contains a single quote or starts with a double one.
        """
        pairs = {name: encode(name, value) for name, value in self.to_dict().items()}
        assert len(pairs) <= MAX_HYPERPARAMETERS
        return pairs

    @classmethod
    def from_hyperparameters(cls, pairs: Mapping[str, Any], **overrides: Any) -> Self:
        """Read a job's hyperparameters as SageMaker sends them; its reserved names are ignored."""
        own = {k.replace("-", "_"): v for k, v in pairs.items() if not k.startswith(RESERVED_PREFIXES)}
        decoded = renamed_settings({name: decode(value) for name, value in own.items()})
        return cls(**{**decoded, **renamed_settings(overrides)})

    @classmethod
    def environment(cls, variables: Mapping[str, str] | None = None) -> dict[str, object]:
        """The settings that the environment gives (`BREEDCLF_EPOCHS=2`), by field name.

        Raises:
            ConfigError: a variable looks like a misspelled field.
        """
        return settings_from_environment(cls.model_fields, variables)
