"""The log lines that report metrics, and the regexes that read them back, from one description."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import TextIO

from breedclf.config.import_path import BUILT_IN_METRICS
from breedclf.errors import ConfigError

MARKER = "breedclf-metrics"
MAX_DEFINITIONS = 40
MAX_REGEX_CHARS = 500
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NUMBER = "([-+0-9.eE]+)"  # exactly one group, since services differ in what else they support


@dataclass(frozen=True)
class MetricDefinition:
    """A metric's name and the regex, with one group, that finds its value in a line of the log."""

    name: str
    regex: str


@dataclass(frozen=True)
class MetricLines:
    """The metrics that one kind of job prints, by name.

    A line is the marker and one flat JSON object. Values that aren't finite ("nan", "inf", "-inf") are written as JSON
    strings, so that no definition matches them: they are visible in the log, but services that rank jobs ignore them.

    Raises:
        ConfigError: a name isn't lower_snake_case or is repeated, or there are more than 40.

    Example:
        >>> MetricLines(("epoch", "loss")).format({"epoch": 1, "loss": 0.25})
        'breedclf-metrics {"epoch": 1, "loss": 0.25}'
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) > MAX_DEFINITIONS:
            raise ConfigError(f"{len(self.names)} metrics: a job takes at most {MAX_DEFINITIONS}; print fewer")
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ConfigError(f"metric name {name!r}: use lower case letters, digits and _, at most 64 characters")
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ConfigError(f"metric names must differ; {', '.join(twice)} is repeated")

    @cached_property
    def definitions(self) -> tuple[MetricDefinition, ...]:
        """One definition a metric, in the form that SageMaker's `MetricDefinitions` takes."""
        return tuple(MetricDefinition(name, f'{MARKER} .*"{name}": {_NUMBER}') for name in self.names)

    def format(self, values: Mapping[str, float]) -> str:
        """One line, without its end, that holds some of the metrics.

        Raises:
            ConfigError: a name isn't among the described ones, or a value is no number.
        """
        if unknown := sorted(set(values) - set(self.names)):
            raise ConfigError(f"unknown metric {', '.join(unknown)}: the described ones are {', '.join(self.names)}")
        return f"{MARKER} " + json.dumps({name: _plain(name, value) for name, value in values.items()})

    def print(self, values: Mapping[str, float], stream: TextIO | None = None) -> None:
        """Write the line to `stream` (stdout) in one piece and flush it."""
        stream = sys.stdout if stream is None else stream
        stream.write(self.format(values) + "\n")
        stream.flush()


TRAINING_METRICS = MetricLines(("epoch", *BUILT_IN_METRICS, "best_epoch", "best_valid_loss", "best_valid_accuracy"))


def training_metrics(own: Iterable[str]) -> MetricLines:
    """The metrics of a training run with own ones of these names.

    Example:
        >>> training_metrics(["top2"]).names[-2:]
        ('best_valid_accuracy', 'top2')
    """
    return MetricLines((*TRAINING_METRICS.names, *own))


def best(objective: str) -> str:
    """The name of the last metric of a training run, the objective of its best epoch: `best_valid_loss`."""
    return f"best_{objective}"


def format_metrics(values: Mapping[str, float], lines: MetricLines = TRAINING_METRICS) -> str:
    """The line that reports these metrics of a training run.

    Example:
        >>> format_metrics({"epoch": 1, "train_loss": 0.31})
        'breedclf-metrics {"epoch": 1, "train_loss": 0.31}'
    """
    return lines.format(values)


def print_metrics(
    values: Mapping[str, float], stream: TextIO | None = None, lines: MetricLines = TRAINING_METRICS
) -> None:
    """Write that line to `stream` (stdout) and flush it."""
    lines.print(values, stream)


def match_metrics(line: str, definitions: Iterable[MetricDefinition]) -> dict[str, float]:
    """The values that the definitions find in a line, as a service would: each regex is searched for.

    Example:
        >>> match_metrics('breedclf-metrics {"epoch": 2}', TRAINING_METRICS.definitions)
        {'epoch': 2.0}
    """
    found = {}
    for definition in definitions:
        match = re.search(definition.regex, line)
        if match is None:
            continue
        try:
            value = float(match.group(1))
        except ValueError:
            continue
        if math.isfinite(value):
            found[definition.name] = value
    return found


def check_definitions(definitions: Iterable[MetricDefinition]) -> tuple[MetricDefinition, ...]:
    """Check definitions against a job's limits.

    Raises:
        ConfigError: there are more than 40, or a regex is too long, isn't valid or hasn't exactly one group.
    """
    definitions = tuple(definitions)
    if len(definitions) > MAX_DEFINITIONS:
        raise ConfigError(f"{len(definitions)} metric definitions: a job takes at most {MAX_DEFINITIONS}")
    for name, regex in ((each.name, each.regex) for each in definitions):
        if len(regex) > MAX_REGEX_CHARS:
            raise ConfigError(
                f"metric {name}: its regex has {len(regex)} characters; a job takes at most {MAX_REGEX_CHARS}"
            )
        try:
            groups = re.compile(regex).groups
        except re.error as error:
            raise ConfigError(f"metric {name}: {regex!r} is no valid regex: {error}") from error
        if groups != 1:
            raise ConfigError(f"metric {name}: {regex!r} has {groups} groups; it needs exactly one, around the value")
    return definitions


def _plain(name: str, value: object) -> int | float | str:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"metric {name}={value!r}: a metric is a number")
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)
