"""Your own metrics on the validation images, computed at the end of each epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import SupportsFloat

import numpy as np
import torch

from breedclf.config.import_path import check_metric_name
from breedclf.errors import ConfigError, TrainingError
from breedclf.runtime.own_code import described_value
from breedclf.training.custom.calls import own_call, takes
from breedclf.training.valid_predictions import ValidPredictions

log: logging.Logger = logging.getLogger(__name__)

MetricFunction = Callable[[torch.Tensor, torch.Tensor], SupportsFloat]
"""Maps probabilities float32 [N, C] and targets int64 [N] of the validation images, on the CPU, to a number."""

_CONTRACT = "a metric takes probabilities float32 [N, C] and targets int64 [N], and returns a number"


@dataclass(frozen=True)
class OwnMetrics:
    """Functions of your own by name; their names in messages are `metric NAME`."""

    functions: Mapping[str, MetricFunction] = field(default_factory=dict)

    def values(self, predictions: ValidPredictions, epoch: int) -> dict[str, float]:
        """The values of all metrics, each on copies of its own; NaN and infinite ones are logged as a warning.

        Raises:
            TrainingError: a metric raised an exception, or returned something else than a number.
        """
        found = {}
        for name, function in self.functions.items():
            what = f"metric {name}"
            with own_call(what, warns=epoch == 1):
                value = function(predictions.probabilities.clone(), predictions.targets.clone())
            found[name] = number = _number(value, what)
            if not math.isfinite(number):
                log.warning("%s is %s in epoch %d; it is recorded without a value", what, number, epoch)
        return found


def own_metrics(functions: Mapping[str, Callable[..., object]]) -> OwnMetrics:
    """Check functions by their names and signatures.

    Raises:
        ConfigError: a name is taken or not in lower_snake_case, or a function doesn't take two arguments.
    """
    for name, function in functions.items():
        try:
            check_metric_name(name)
        except ValueError as error:
            raise ConfigError(f"metrics: {error}") from None
        if not callable(function):
            raise ConfigError(f"metric {name} is {described_value(function)}, which can't be called; {_CONTRACT}")
        if isinstance(function, type) or not takes(function, 2):
            raise ConfigError(f"metric {name} can't be called with two arguments as a function; {_CONTRACT}")
    return OwnMetrics(functions)  # type: ignore[arg-type]


def _number(value: object, what: str) -> float:
    if isinstance(value, (torch.Tensor, np.ndarray)) and math.prod(value.shape) == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TrainingError(f"{what} returned {described_value(value)}; {_CONTRACT}")
    return float(value)
