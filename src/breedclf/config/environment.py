"""Settings from environment variables: `BREEDCLF_EPOCHS=2` is `epochs=2`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping

from breedclf.config.aliases import SETTINGS, renamed_settings
from breedclf.errors import ConfigError

ENVIRONMENT_PREFIX = "BREEDCLF_"


def settings_from_environment(fields: Iterable[str], variables: Mapping[str, str] | None = None) -> dict[str, object]:
    """The settings that environment variables give, by field name; empty variables are ignored.

    Raises:
        ConfigError: a variable looks like a misspelled field, or gives a setting under its old and its new name.

    Example:
        >>> settings_from_environment(["epochs"], {"BREEDCLF_EPOCHS": "2", "HOME": "/"})
        {'epochs': '2'}
    """
    known = {*fields}
    known |= {old for old, new in SETTINGS.items() if new in known}
    found: dict[str, object] = {}
    for variable, value in (os.environ if variables is None else variables).items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not value:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in known:
            found[name] = value
        elif near := difflib.get_close_matches(name, known - SETTINGS.keys(), n=1, cutoff=0.8):
            raise ConfigError(f"environment variable {variable}: did you mean {ENVIRONMENT_PREFIX}{near[0].upper()}?")
    return renamed_settings(found)
