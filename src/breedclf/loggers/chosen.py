"""The loggers that the settings ask for, and an end for every logger when a training breaks off."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from breedclf.loggers.mlflow import MLflowLogger
from breedclf.loggers.run_logger import RunLogger, RunStatus
from breedclf.loggers.tensorboard import TensorBoardLogger

if TYPE_CHECKING:
    from breedclf.config import TrainingConfig
    from breedclf.training.hooks import TrainingHook


@contextmanager
def logged(
    config: TrainingConfig,
    hooks: Sequence[TrainingHook] = (),
    *,
    mlflow_uri: str | None = None,
    stopped_by: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
) -> Iterator[list[TrainingHook]]:
    """The given hooks with the loggers that the settings ask for; a training that breaks off ends their runs.

    `mlflow_uri` is where MLflow's runs go when neither the settings nor `MLFLOW_TRACKING_URI` say. What is in
    `stopped_by` means that somebody ended the training, any other exception that it failed.

    Raises:
        MissingExtraError: a logger's library isn't installed.
    """
    loggers: list[TrainingHook] = [_logger(name, config, mlflow_uri) for name in config.loggers]
    everyone = [*loggers, *hooks]
    status: RunStatus = "Failed"
    try:
        yield everyone
        status = "Completed"
    except stopped_by:
        status = "Stopped"
        raise
    finally:
        for hook in everyone:
            if isinstance(hook, RunLogger):
                hook.close(status)


def _logger(name: str, config: TrainingConfig, mlflow_uri: str | None) -> RunLogger:
    match name:
        case "mlflow":
            uri = config.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI") or mlflow_uri
            return MLflowLogger(uri, experiment=config.mlflow_experiment)
        case "tensorboard":
            return TensorBoardLogger()
    raise AssertionError(f"no logger is made for {name!r}")
