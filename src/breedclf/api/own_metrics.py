"""Metrics given as functions: sent to a backend by their import paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from breedclf.config import TrainingConfig
from breedclf.config.import_path import NO_METRICS
from breedclf.errors import ConfigError
from breedclf.runtime.own_code import load
from breedclf.runtime.own_source import path_of


def with_metrics(config: TrainingConfig, metrics: Mapping[str, Callable[..., object]]) -> TrainingConfig:
    """The settings with these functions as import paths, which a job can follow.

    Raises:
        ConfigError: a job can't import one of them; the message says why.
    """
    if not metrics:
        return config
    texts = [] if config.metrics == NO_METRICS else [config.metrics]
    for name, function in metrics.items():
        what = f"metric {name}"
        path = path_of(function, what)
        if load(path, what) is not function:
            raise ConfigError(f"{what}: {path} is another object than the function given; give the one that it imports")
        texts.append(f"{name}={path}")
    return config.replace(metrics=",".join(texts))
