"""Creates the configured loggers, and closes them if training is interrupted or fails."""

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
    """The given hooks with the configured loggers; if training is interrupted or fails, their runs are closed.

    `mlflow_uri` is MLflow's tracking URI if neither the settings nor `MLFLOW_TRACKING_URI` specify one. Exceptions in
    `stopped_by` mean that training was stopped, any other exception that it failed.

    Raises:
        MissingExtraError: a logger's library isn't installed.
    """
    loggers: list[TrainingHook] = [_logger(name, config, mlflow_uri) for name in config.loggers]
    all_hooks = [*loggers, *hooks]
    status: RunStatus = "Failed"
    try:
        yield all_hooks
        status = "Completed"
    except stopped_by:
        status = "Stopped"
        raise
    finally:
        for hook in all_hooks:
            if isinstance(hook, RunLogger):
                hook.close(status)


def _logger(name: str, config: TrainingConfig, mlflow_uri: str | None) -> RunLogger:
    match name:
        case "mlflow":
            uri = config.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI") or mlflow_uri
            return MLflowLogger(uri, experiment=config.mlflow_experiment)
        case "tensorboard":
            return TensorBoardLogger()
    raise AssertionError(f"unknown logger {name!r}")
