"""The study: the state of a search on disk (its request and all runs), written atomically, with a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from breedclf.config import Settings
from breedclf.config.base import explain
from breedclf.config.saved import from_saved
from breedclf.errors import BreedclfError, ConfigError, DiskError
from breedclf.files.disk import refusal, write_atomic, writing
from breedclf.tuning.confirmation import Confirmation, contenders
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.trials import SeedRun, Status, Trial, best_trial

SCHEMA_VERSION: Literal[1] = 1
_LOCK_SECONDS = 1.0


class Study(Settings):
    """The state of a search.

    `seed_runs` are the best trials with other seeds, and `confirmation` is what came of them.
    """

    schema_version: Literal[1] = 1
    request: SearchRequest
    key: str = Field(pattern=r"[0-9a-f]{8}")
    created: float
    status: Status = "InProgress"
    reason: str | None = None
    active_seconds: float = 0.0
    trials: tuple[Trial, ...] = ()
    backend: str | None = None
    valid_count: int | None = None
    seed_runs: tuple[SeedRun, ...] = ()
    confirmation: Confirmation | None = None

    @model_serializer(mode="wrap")
    def _as_before_confirmations(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without confirmation, the same as versions write that didn't have it."""
        values: dict[str, object] = serialize(self)
        unused = () if self.request.confirm_seeds else ("seed_runs", "confirmation")
        return {name: value for name, value in values.items() if name not in unused}

    @property
    def runs(self) -> tuple[Trial, ...]:
        """All trials, and their runs with other seeds."""
        return (*self.trials, *self.seed_runs)

    @property
    def is_over(self) -> bool:
        return self.status in ("Completed", "Failed", "Stopped")

    @property
    def best(self) -> Trial | None:
        """The completed trial with the best objective, the earliest of equal ones; after confirmation, its best."""
        if self.confirmation is not None:
            confirmed = self.confirmation.best
            return next((trial for trial in self.trials if trial.name == confirmed), None)
        return best_trial(self.trials, self.request.direction)

    def ended_unexpectedly(self, job_status: str, reason: str | None) -> Study:
        """The study after its job ended before the search did."""
        status: Status = "Stopped" if job_status == "Stopped" else "Failed"
        note = reason or f"the job ended as {job_status} before its search did"
        cut = {"status": status, "failure_reason": note}
        trials = tuple(trial if trial.is_over else trial.model_copy(update=cut) for trial in self.trials)
        seed_runs = tuple(run if run.is_over else run.model_copy(update=cut) for run in self.seed_runs)
        changes = {"status": status, "reason": note, "trials": trials, "seed_runs": seed_runs}
        return self.model_copy(update=changes)

    def job_name(self, index: int, attempt: int = 1, seed: int | None = None) -> str:
        """The job name of a trial: the study's name, the trial's number from 1, and the study's key.

        That of its run with another seed ends with the seed's number from 1, and that of a later attempt with its own.
        """
        number = "" if seed is None else f"-s{self.request.other_seeds.index(seed) + 1}"
        return f"{self.request.name}-{index + 1:03d}-{self.key}{number}" + (f"-r{attempt}" if attempt > 1 else "")

    def planned_seed_runs(self) -> tuple[SeedRun, ...]:
        """The runs that confirm the best trials, all trials with one seed after another."""
        return tuple(
            SeedRun(
                name=self.job_name(trial.index, seed=seed),
                index=trial.index,
                hyperparameters=trial.hyperparameters,
                seed=seed,
            )
            for seed in self.request.other_seeds
            for trial in contenders(self.trials, self.request.direction)
        )


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one search. Changing it requires its lock; reading doesn't."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path / "study.json"

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that drives the search."""
        return self.path / "tuner.lock"

    @property
    def _remedy(self) -> str:
        return f"restore {self.file}, or delete its folder and start the search again"

    def exists(self) -> bool:
        return self.file.is_file()

    def load(self) -> Study:
        """Read the search.

        Raises:
            ConfigError: it doesn't exist, or a newer version wrote it.
            BreedclfError: its file is damaged.
        """
        try:
            document = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(self._unknown()) from error
        except (OSError, ValueError, RecursionError) as error:
            raise BreedclfError(
                f"the state of tuning job {self.path.name!r} can't be read: {error}; {self._remedy}"
            ) from error
        version = document.get("schema_version") if isinstance(document, dict) else None
        if type(version) is int and version > SCHEMA_VERSION:
            raise ConfigError(
                f"tuning job {self.path.name!r} was written by a newer breedclf (state version {version}, known "
                f"{SCHEMA_VERSION}): upgrade breedclf"
            )
        try:
            if type(version) is not int or version < 1:
                raise ConfigError(f"schema_version is {version!r}, which breedclf never writes")
            return from_saved(Study, document, self.file)
        except ValidationError as error:
            problem = explain(error, Study.model_fields)
        except ConfigError as error:
            problem = str(error)
        raise BreedclfError(f"the state of tuning job {self.path.name!r} is damaged: {problem}; {self._remedy}")

    def save(self, study: Study) -> None:
        """Write the study atomically.

        Raises:
            DiskError: it can't be written.
        """
        text = json.dumps(study.model_dump(mode="json"))
        try:
            write_atomic(self.file, text, sync=True)
        except OSError as error:
            raise DiskError(
                f"the state of tuning job {self.path.name!r} can't be written to {self.file}: {refusal(error)}; its "
                "trials so far are kept: free disk space and attach again"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the study, so that this is the only process that drives it.

        Raises:
            ConfigError: another process has locked it.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        # A process that was killed while starting a job briefly leaves the lock to the child process: wait for that.
        lock = FileLock(self.lock_file, timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"tuning job {self.path.name!r} is being run by another process: wait for it, or use another name"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _unknown(self) -> str:
        folder = self.path.parent
        known = sorted(each.parent.name for each in folder.glob("*/study.json")) if folder.is_dir() else []
        shown = f"existing ones are {', '.join(known[:20])}" if known else "there are none"
        return f"no tuning job {self.path.name!r} in {folder}: {shown}"
