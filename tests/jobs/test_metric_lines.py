"""What a training prints must come back from its regexes, for every number there is."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from breedclf.errors import ConfigError
from breedclf.jobs.metric_lines import (
    MAX_DEFINITIONS,
    MAX_REGEX_CHARS,
    TRAINING_METRICS,
    MetricDefinition,
    MetricLines,
    best,
    check_definitions,
    format_metrics,
    match_metrics,
    print_metrics,
)

DEFINITIONS = TRAINING_METRICS.definitions
numbers = st.one_of(st.floats(), st.integers(-(10**30), 10**30))
some_metrics = st.dictionaries(st.sampled_from(TRAINING_METRICS.names), numbers, min_size=1)


@given(some_metrics)
def test_every_finite_value_comes_back_from_the_regexes_and_no_other_does(values: dict[str, float]) -> None:
    found = match_metrics(format_metrics(values), DEFINITIONS)
    assert found == {name: float(value) for name, value in values.items() if math.isfinite(value)}


@pytest.mark.parametrize("value", [1e-7, 1e22, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2])
def test_exponents_and_extremes(value: float) -> None:
    assert match_metrics(format_metrics({"train_loss": value}), DEFINITIONS) == {"train_loss": value}


def test_what_is_no_number_is_seen_in_the_log_and_not_by_the_service() -> None:
    line = format_metrics({"epoch": 3, "train_loss": math.nan, "valid_loss": -math.inf})
    assert line == 'breedclf-metrics {"epoch": 3, "train_loss": "nan", "valid_loss": "-inf"}'
    assert match_metrics(line, DEFINITIONS) == {"epoch": 3}


def test_a_name_within_another_is_not_mistaken_for_it() -> None:
    line = format_metrics({"best_valid_loss": 0.5, "best_epoch": 2})
    assert match_metrics(line, DEFINITIONS) == {"best_valid_loss": 0.5, "best_epoch": 2}


def test_the_objective_of_the_best_epoch_has_its_own_name() -> None:
    assert best("valid_loss") in TRAINING_METRICS.names
    assert best("valid_accuracy") in TRAINING_METRICS.names


def test_definitions_keep_a_service_s_limits() -> None:
    assert len(DEFINITIONS) <= MAX_DEFINITIONS
    for definition in DEFINITIONS:
        assert len(definition.regex) <= MAX_REGEX_CHARS
        assert re.compile(definition.regex).groups == 1
        assert definition.regex.count("(") == 1
    assert check_definitions(DEFINITIONS) == DEFINITIONS


def test_numbers_of_numpy_are_taken() -> None:
    assert format_metrics({"epoch": np.int64(2), "train_loss": np.float32(0.5)}) == (  # type: ignore[dict-item]
        'breedclf-metrics {"epoch": 2, "train_loss": 0.5}'
    )


@pytest.mark.parametrize(
    "line",
    ["", "epoch 1", "breedclf-metrics", "breedclf-metrics {", "breedclf-metrics [1]", 'breedclf-metrics {"a": [1]}'],
)
def test_other_lines_hold_no_metrics(line: str) -> None:
    assert match_metrics(line, DEFINITIONS) == {}


def test_one_line_is_written_in_one_piece_and_flushed() -> None:
    class Recorder(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        def write(self, text: str) -> int:
            self.calls.append(text)
            return super().write(text)

        def flush(self) -> None:
            self.calls.append("flush")

    stream = Recorder()
    print_metrics({"epoch": 1}, stream)
    assert stream.calls == ['breedclf-metrics {"epoch": 1}\n', "flush"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"valid_los": 1.0}, "unknown metric valid_los: the described ones are epoch"),
        ({"epoch": True}, "metric epoch=True: a metric is a number"),
        ({"epoch": "1"}, "metric epoch='1': a metric is a number"),
    ],
)
def test_wrong_metrics_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        format_metrics(values)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Loss",), "metric name 'Loss': use lower case"),
        (("loss", "loss"), "loss is repeated"),
        (tuple(f"m{i}" for i in range(41)), "41 metrics: a job takes at most 40"),
    ],
)
def test_wrong_descriptions_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MetricLines(names)


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("loss=.*", "has 0 groups"),
        ("(a)(b)", "has 2 groups"),
        ("(", "no valid regex"),
        ("(" + "a" * 500 + ")", "has 502 characters; a job takes at most 500"),
    ],
)
def test_foreign_definitions_are_checked(regex: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_definitions([MetricDefinition("loss", regex)])
