"""A backend for tests whose jobs are entries of a book: they advance when they are looked at, and refuse bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from breedclf import Categorical
from breedclf.errors import ConfigError, JobError
from breedclf.jobs import JobDescription, JobSpec, JobStatus, MetricRecord, SecondaryStatus

SPACE = {"learning_rate": Categorical(0.005, 0.0075, 0.01), "batch_size": Categorical(32, 64)}

_FINAL = {
    JobStatus.COMPLETED: SecondaryStatus.COMPLETED,
    JobStatus.FAILED: SecondaryStatus.FAILED,
    JobStatus.STOPPED: SecondaryStatus.STOPPED,
}


def losses(pairs: dict[str, str]) -> list[float]:
    """The validation loss of each epoch for hyperparameters of `SPACE`: best at 0.0075 and 64."""
    rate, epochs = float(pairs["learning_rate"]), int(pairs["epochs"])
    base = abs(rate - 0.0075) * 100 + (0.1 if pairs["batch_size"] == "32" else 0.0)
    return [base + 1 / epoch for epoch in range(1, epochs + 1)]


@dataclass
class _Entry:
    spec: JobSpec
    description: JobDescription
    values: list[float]
    failure: str | None = None
    epochs: list[MetricRecord] = field(default_factory=list)


class BookkeepingBackend:
    """Each look at a job runs one epoch of it; `losses` gives them by hyperparameters, or raises to make it fail."""

    name = "bookkeeping"

    def __init__(self, home: Path, losses: Callable[[dict[str, str]], list[float]]) -> None:
        self.home = home
        self.stopped: list[str] = []
        self._losses = losses
        self._book: dict[str, _Entry] = {}

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        return {"name": spec.name}

    def submit(self, spec: JobSpec) -> None:
        if spec.name in self._book:
            raise ConfigError(f"job name {spec.name!r} is taken")
        for channel, path in spec.channels.items():
            if not path.exists():
                raise ConfigError(f"channel {channel}: {path} is not there")
        try:
            values, failure = self._losses(dict(spec.hyperparameters)), None
        except ArithmeticError as error:
            values, failure = [], str(error)
        description = JobDescription(
            name=spec.name,
            status=JobStatus.IN_PROGRESS,
            secondary_status=SecondaryStatus.TRAINING,
            created=float(len(self._book)),
            started=float(len(self._book)),
            tags=spec.tags,
        )
        self._book[spec.name] = _Entry(spec, description, values, failure)

    def describe(self, name: str) -> JobDescription:
        entry = self._known(name)
        if not entry.description.status.is_final:
            self._advance(entry)
        return entry.description

    def list_jobs(self) -> list[JobDescription]:
        return [entry.description for entry in self._book.values()]

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        self._known(name)
        return "", position

    def metric_history(self, name: str) -> list[MetricRecord]:
        return self._known(name).epochs

    def stop(self, name: str) -> None:
        entry = self._known(name)
        self.stopped.append(name)
        if not entry.description.status.is_final:
            self._end(entry, JobStatus.STOPPED)

    def artifact(self, name: str) -> Path:
        if self._known(name).description.status is not JobStatus.COMPLETED:
            raise JobError(f"job {name} left no model")
        return self.home / "models" / name

    def output(self, name: str) -> Path:
        self._known(name)
        return self.home / "outputs" / name

    def delete(self, name: str) -> None:
        if not self._known(name).description.status.is_final:
            raise JobError(f"job {name} hasn't ended")
        del self._book[name]

    def limits(self) -> set[float]:
        """The run times that jobs were given at most."""
        return {entry.spec.max_runtime_seconds for entry in self._book.values()}

    def _known(self, name: str) -> _Entry:
        if name not in self._book:
            raise JobError(f"no job {name}")
        return self._book[name]

    def _advance(self, entry: _Entry) -> None:
        if entry.failure is not None:
            self._end(entry, JobStatus.FAILED, failure_reason=entry.failure)
            return
        epoch = len(entry.epochs) + 1
        values = {"epoch": epoch, "valid_loss": entry.values[epoch - 1], "valid_accuracy": 0.5}
        entry.epochs.append(MetricRecord(float(epoch), values))
        if epoch == len(entry.values):
            best = min(entry.values)
            metrics = {**values, "best_epoch": entry.values.index(best) + 1, "best_valid_loss": best}
            self._end(entry, JobStatus.COMPLETED, metrics=metrics)

    def _end(self, entry: _Entry, status: JobStatus, **changes: Any) -> None:
        changed = replace(entry.description, ended=entry.description.created + 2.0, **changes)
        entry.description = changed.entered(_FINAL[status], changed.created + 2.0, status=status)
