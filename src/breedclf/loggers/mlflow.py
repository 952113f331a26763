"""Logs training runs to MLflow: a server, a database, or SageMaker's managed MLflow."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from breedclf._version import __version__
from breedclf.loggers.mlflow_connection import connection, experiment_id, experiment_name, require_mlflow
from breedclf.loggers.run_logger import RunLogger, RunStatus, metrics_of, run_name, settings_of
from breedclf.text.json_lines import read_json_lines
from breedclf.text.printable import storable
from breedclf.training.hooks import EpochRecord, TrainingPlan

if TYPE_CHECKING:
    from breedclf.training.fit import FitResult

log: logging.Logger = logging.getLogger(__name__)

RUN_FILE = "mlflow-run.json"
_STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Stopped": "KILLED"}
_MAX_PARAMS_AT_A_TIME = 100


class MLflowLogger(RunLogger):
    """A training hook that logs to an MLflow run: metrics per epoch, settings, the best epoch, the model's path.

    Training that is resumed from a checkpoint continues its MLflow run. If the server is unreachable, a warning is
    logged once and training continues.

    Args:
        tracking_uri: URL of a server, `sqlite:///FILE`, or the ARN of a SageMaker tracking server or app; MLflow's
            default otherwise: `MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory.
        experiment: created if it doesn't exist; by default `MLFLOW_EXPERIMENT_NAME`, or "breedclf".
        run_name: by default the job's name in a job, otherwise the output folder's name.
        tags: tags of the run.

    Raises:
        MissingExtraError: MLflow isn't installed or, for an ARN, its plugin for SageMaker.

    Example:
        >>> from breedclf import Trainer, TrainingConfig
        >>> logger = MLflowLogger("http://127.0.0.1:5000")  # doctest: +SKIP
        >>> Trainer(TrainingConfig(data="dogImages")).fit(hooks=[logger])  # doctest: +SKIP
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        require_mlflow(tracking_uri, "logging to MLflow")
        self._run = _Run(tracking_uri, experiment_name(experiment), run_name, dict(tags or {}), clock)
        super().__init__("MLflow", self._run)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run, once it has started."""
        return self._run.run_id


class _Run:
    """One run, via MLflow's client API: the global active run and tracking URI are left to the user."""

    def __init__(
        self,
        tracking_uri: str | None,
        experiment: str,
        name: str | None,
        tags: dict[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._tracking_uri = tracking_uri
        self._experiment = experiment
        self._name = name
        self._tags = tags
        self._clock = clock
        self._client: Any = None
        self._key = f"{tracking_uri or ''} {experiment}"
        self.run_id: str | None = None

    def start(self, plan: TrainingPlan) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        with connection(self._tracking_uri):
            self._client = MlflowClient(tracking_uri=self._tracking_uri)
            if self._resume(plan):
                return
            tags = {"mlflow.source.name": "breedclf", "breedclf.version": __version__, **self._tags}
            run = self._client.create_run(
                experiment_id(self._client, self._experiment), run_name=self._name or run_name(plan), tags=tags
            )
            self.run_id = run.info.run_id
            params = [Param(name, str(value)) for name, value in settings_of(plan).items()]
            for start in range(0, len(params), _MAX_PARAMS_AT_A_TIME):
                self._client.log_batch(self.run_id, params=params[start : start + _MAX_PARAMS_AT_A_TIME])
        self._save_run_id(plan)

    def _resume(self, plan: TrainingPlan) -> bool:
        """Reopen the run of a resumed training, if it still exists; changed settings are added as tags."""
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        run_id = _saved_runs(plan).get(self._key) if plan.epochs_done else None
        if run_id is None:
            return False
        try:
            run = self._client.get_run(run_id)
        except MlflowException:
            log.info("MLflow run %s no longer exists: the resumed training is logged as a new run", run_id)
            return False
        self.run_id = run.info.run_id
        self._client.update_run(self.run_id, status="RUNNING")
        then, now = run.data.params, {name: str(value) for name, value in settings_of(plan).items()}
        params = [Param(name, value) for name, value in now.items() if name not in then]
        tags = [RunTag(f"resumed.{name}", value) for name, value in now.items() if then.get(name, value) != value]
        self._client.log_batch(self.run_id, params=params, tags=tags)
        return True

    def _save_run_id(self, plan: TrainingPlan) -> None:
        """Save the run's id with the checkpoints, so that resumed training can continue the run."""
        if plan.checkpoints is None:
            return
        document = json.dumps({**_saved_runs(plan), self._key: self.run_id})
        try:
            plan.checkpoints.mkdir(parents=True, exist_ok=True)
            (plan.checkpoints / RUN_FILE).write_text(document + "\n", encoding="utf-8")
        except OSError as error:
            log.warning(
                "MLflow: if training is resumed, it will be logged as another run: %s can't be written: %s",
                RUN_FILE,
                error,
            )

    def add(self, epochs: Sequence[EpochRecord]) -> None:
        from mlflow.entities import Metric

        now = round(self._clock() * 1000)
        metrics = [
            Metric(name, value, now, epoch.epoch) for epoch in epochs for name, value in metrics_of(epoch).items()
        ]
        with connection(self._tracking_uri):
            self._client.log_batch(self.run_id, metrics=metrics)

    def finish(self, result: FitResult) -> None:
        from mlflow.entities import Metric, RunTag

        now = round(self._clock() * 1000)
        metrics = [
            Metric(f"best_{name}", value, now, result.best_epoch) for name, value in metrics_of(result.best).items()
        ]
        metrics.append(Metric("best_epoch", result.best_epoch, now, result.best_epoch))
        with connection(self._tracking_uri):
            self._client.log_batch(
                self.run_id, metrics=metrics, tags=[RunTag("artifact", storable(str(result.artifact)))]
            )

    def close(self, status: RunStatus) -> None:
        with connection(self._tracking_uri):
            self._client.set_terminated(self.run_id, status=_STATUS[status])


def _saved_runs(plan: TrainingPlan) -> dict[str, str]:
    """The runs of the checkpoints, by tracking URI and experiment; empty if their file is damaged."""
    found = None if plan.checkpoints is None else next(read_json_lines(plan.checkpoints / RUN_FILE), None)
    return found if isinstance(found, dict) else {}
