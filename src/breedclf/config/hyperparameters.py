"""Settings as the flat text pairs that a job carries: their limits, and how values are quoted and read back."""

from __future__ import annotations

import json

from breedclf.errors import ConfigError

MAX_HYPERPARAMETERS = 100
MAX_HYPERPARAMETER_CHARS = 2_500
RESERVED_PREFIXES = ("sagemaker_", "_tuning_")


def check_hyperparameter(name: str, text: str) -> str:
    """Return a hyperparameter's text if a job can carry it.

    Raises:
        ConfigError: it has more than 2,500 characters, or contains a single quote.
    """
    if len(text) > MAX_HYPERPARAMETER_CHARS:
        raise ConfigError(
            f"hyperparameter {name} has {len(text)} characters; a job takes at most {MAX_HYPERPARAMETER_CHARS}"
        )
    if "'" in text:
        raise ConfigError(f"hyperparameter {name}={text!r} contains a single quote, which a job's shell can't carry")
    return text


def encode(name: str, value: object) -> str:
    """A value as a hyperparameter's text: JSON, or a string as it is unless it could be read as another type.

    Raises:
        ConfigError: the text is too long, contains a single quote, or starts with a double one.

    Example:
        >>> encode("epochs", 3), encode("data", "dogs"), encode("data", "3")
        ('3', 'dogs', '"3"')
    """
    if not isinstance(value, str):
        return check_hyperparameter(name, json.dumps(value))
    if value.startswith('"'):
        raise ConfigError(f"hyperparameter {name}={value!r} starts with a quote, which jobs use for quoting")
    return check_hyperparameter(name, json.dumps(value) if _reads_as_json(value) else value)


def decode(value: object) -> object:
    """The inverse of `encode`, which also accepts values that were never encoded.

    Example:
        >>> decode('"3"'), decode("3"), decode(3)
        ('3', '3', 3)
    """
    if isinstance(value, str) and value.startswith('"'):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
