"""Creates the configured loggers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from breedclf.loggers.mlflow import MLflowLogger
from breedclf.loggers.run_logger import RunLogger
from breedclf.loggers.tensorboard import TensorBoardLogger

if TYPE_CHECKING:
    from breedclf.config import TrainingConfig


def loggers_of(config: TrainingConfig, *, mlflow_uri: str | None = None) -> list[RunLogger]:
    """The configured loggers, as training hooks.

    `mlflow_uri` is MLflow's tracking URI if neither the settings nor `MLFLOW_TRACKING_URI` specify one.

    Raises:
        MissingExtraError: a logger's library isn't installed.
    """
    return [_logger(name, config, mlflow_uri) for name in config.loggers]


def _logger(name: str, config: TrainingConfig, mlflow_uri: str | None) -> RunLogger:
    match name:
        case "mlflow":
            uri = config.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI") or mlflow_uri
            return MLflowLogger(uri, experiment=config.mlflow_experiment)
        case "tensorboard":
            return TensorBoardLogger()
    raise AssertionError(f"unknown logger {name!r}")
