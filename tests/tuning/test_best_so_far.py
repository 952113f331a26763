"""A trial of a search with early stopping by the service prints its best objective after each epoch."""

from __future__ import annotations

import math

import pytest

from breedclf.jobs.metric_lines import TRAINING_METRICS, match_metrics
from breedclf.training.hooks import EpochRecord
from breedclf.tuning.best_so_far import BestSoFar


@pytest.mark.parametrize(
    ("objective", "values", "reported"),
    [
        ("valid_loss", [0.9, 0.5, 0.7, 0.4], [0.9, 0.5, 0.5, 0.4]),
        ("valid_accuracy", [0.5, 0.4, 0.8], [0.5, 0.5, 0.8]),
        ("valid_loss", [math.nan, 0.5, math.inf], [0.5]),
    ],
)
def test_each_epoch_prints_the_best_so_far(capsys, objective, values, reported) -> None:
    hook = BestSoFar(objective)
    for number, value in enumerate(values, start=1):
        figures = {"train_loss": 1.0, "valid_loss": 1.0, "valid_accuracy": 0.0, objective: value}
        hook.on_epoch(EpochRecord(epoch=number, images_per_second=1.0, **figures))
    lines = [match_metrics(line, TRAINING_METRICS.definitions) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{f"best_{objective}": value} for value in reported]
