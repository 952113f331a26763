"""The connection to an MLflow server: what it needs, and settings of the process while it is used."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from breedclf.runtime.extras import require_extra
from breedclf.runtime.process_wide import ProcessWide

DEFAULT_EXPERIMENT = "breedclf"
# By default, MLflow retries for minutes if a server is down, which would delay training.
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
# These log each failed attempt, each new table, and (SageMaker's plugin) each request to other servers.
_VERBOSE_LOGGERS = (
    "urllib3.connectionpool",
    "alembic",
    "mlflow.store.db.utils",
    "mlflow.tracking.request_header.registry",
)


def require_mlflow(tracking_uri: str | None, purpose: str) -> None:
    """Check that MLflow is installed and, for an ARN, its plugin for SageMaker.

    Raises:
        MissingExtraError: it isn't.
    """
    require_extra("mlflow", purpose=purpose, install='"breedclf[mlflow]"')
    if (tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "").startswith("arn:"):
        require_extra("sagemaker_mlflow", purpose="an ARN as MLflow's tracking URI", install="sagemaker-mlflow")


def experiment_name(given: str | None) -> str:
    """The given experiment, that of `MLFLOW_EXPERIMENT_NAME`, or "breedclf"."""
    return given or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


@contextmanager
def connection(tracking_uri: str | None) -> Iterator[None]:
    """Requests to this server: few retries, no log messages of MLflow, and for an ARN what its plugin needs."""
    with _quiet_and_impatient():
        if tracking_uri is not None and tracking_uri.startswith("arn:"):
            with _global_tracking_uri(tracking_uri):
                yield
        else:
            yield


def experiment_id(client: Any, name: str) -> str:
    """Find or create the experiment of this name; another process may create it at the same time."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _silence_and_hurry() -> Callable[[], object]:
    ours = {name: value for name, value in _TIMEOUTS.items() if name not in os.environ}
    os.environ.update(ours)
    levels = {logger: logger.level for logger in map(logging.getLogger, _VERBOSE_LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.ERROR)

    def undo() -> None:
        for name in ours:
            os.environ.pop(name, None)
        for logger, level in levels.items():
            logger.setLevel(level)

    return undo


_quiet_and_impatient = ProcessWide(_silence_and_hurry)
"""Silences MLflow's loggers, and limits retries to a few seconds unless the user configured them."""


@contextmanager
def _global_tracking_uri(tracking_uri: str) -> Iterator[None]:
    """Set the tracking URI for the whole process, since SageMaker's plugin reads the ARN from there."""
    import mlflow

    variable = os.environ.get("MLFLOW_TRACKING_URI")
    is_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before = mlflow.get_tracking_uri() if is_set else None
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
        if variable is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = variable
