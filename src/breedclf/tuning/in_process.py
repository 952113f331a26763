"""Runs trials in this process, one after another: fastest, since everything is loaded only once."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breedclf.config import TrainingConfig
from breedclf.errors import ArtifactError, BreedclfError, TrainingStoppedError
from breedclf.files.disk import write_atomic
from breedclf.files.typed import typed
from breedclf.runtime.process_signals import ending_at_once
from breedclf.training.hooks import EpochRecord, TrainingHook
from breedclf.tuning.scores_file import read_scores
from breedclf.tuning.search import Search, TrialSnapshot, stopped_early
from breedclf.tuning.study import Study, StudyFolder

if TYPE_CHECKING:
    from breedclf.data.given_images import GivenImages
    from breedclf.training.results.result import FitResult

log: logging.Logger = logging.getLogger(__name__)

_TRIALS = "trials"
_RECORD = "trial.json"


class InProcessRunner:
    """Runs each trial to its end on submission; each has a folder with its record and possibly its model."""

    def __init__(self, folder: Path, images: GivenImages | None = None, clock: Callable[[], float] = time.time) -> None:
        with ending_at_once():
            from breedclf.training.run_cache import RunCache

        self._folder = folder
        self._images = images
        self._clock = clock
        self._run_cache = RunCache()
        self.is_behind: Callable[[str, Sequence[float]], bool] = lambda _name, _history: False
        self.is_best: Callable[[float], bool] = lambda _objective: True

    def submit(self, name: str, config: TrainingConfig, *, scored: bool) -> None:
        started = self._clock()
        self._write(name, {"status": "InProgress", "started": started})
        watch = _Watch(config.objective, lambda history: not scored and self.is_behind(name, history))
        hooks: list[TrainingHook] = [watch]
        if scored:
            from breedclf.tuning.valid_scores import ValidScores

            hooks.append(ValidScores(config.objective, self._folder / name))
        record: dict[str, Any] = {"started": started}
        try:
            result = self._fit(name, config, hooks)
        except _FellBehindError:
            record |= {"status": "Stopped", "note": stopped_early(len(watch.history))}
        except BreedclfError as error:
            record |= {"status": "Failed", "failure_reason": str(error)}
        except Exception as error:  # a trial that runs out of memory must not stop the search
            log.debug("%s failed", name, exc_info=True)
            record |= {"status": "Failed", "failure_reason": f"{type(error).__name__}: {error}"}
        else:
            best = result.best.to_dict()
            metrics = {key: best[key] for key in ("train_loss", "valid_loss", "valid_accuracy")}
            metrics |= {name: value for name, value in best.get("metrics", {}).items() if value is not None}
            record |= {"status": "Completed", "objective": best[config.objective], "metrics": metrics}
        self._write(name, {**record, "history": watch.history, "ended": self._clock()})

    def snapshot(self, name: str) -> TrialSnapshot | None:
        file = self._folder / name / _RECORD
        try:
            snapshot = typed(TrialSnapshot, json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            return TrialSnapshot(status="Failed", lost=True, failure_reason=f"its record {file} is damaged ({error})")
        if snapshot.status == "InProgress":  # not within `submit`, so the process that ran it has ended
            return TrialSnapshot(status="Failed", lost=True, failure_reason="the process that ran it has ended")
        return snapshot

    def stop(self, name: str) -> None:
        """Do nothing: no trial is running when this can be called."""

    def artifact(self, name: str) -> Path:
        return _kept_model(self._folder, name)

    def valid_scores(self, name: str) -> Sequence[float] | None:
        return read_scores(self._folder / name)

    def restore_model(self, name: str, config: TrainingConfig) -> None:
        if not (self._folder / name / "model").is_dir():
            self._fit(name, config, [], is_kept=True)

    def drop_model(self, name: str) -> None:
        """Delete a trial's model to free disk space."""
        shutil.rmtree(self._folder / name / "model", ignore_errors=True)

    def _fit(
        self, name: str, config: TrainingConfig, hooks: Sequence[TrainingHook], *, is_kept: bool = False
    ) -> FitResult:
        with ending_at_once():
            from breedclf.loggers.chosen import loggers_of
            from breedclf.training.fit import fit

        config = config.replace(output=self._folder / name, checkpoints=False, resume=False)
        return fit(
            config,
            self._images,
            hooks=[*loggers_of(config), *hooks],
            run_cache=self._run_cache,
            is_kept=lambda best: is_kept or self.is_best(getattr(best, config.objective)),
        )

    def _write(self, name: str, record: dict[str, Any]) -> None:
        file = self._folder / name / _RECORD
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(record))


def run_in_process(
    folder: StudyFolder, on_change: Callable[[Study], None] = lambda _study: None, images: GivenImages | None = None
) -> Study:
    """Run a study from its current state to its end in this process; the caller holds its lock.

    Trials train on `images`, or on the folder that the settings name.

    Only the best trial's model is kept, since each takes disk space (94 MB for a ResNet-50).
    """
    runner = InProcessRunner(folder.path / _TRIALS, images)
    search = Search(folder, runner, time.monotonic)
    runner.is_behind, runner.is_best = search.is_behind, search.is_best
    while True:
        study = search.step()
        best = study.best
        for trial in study.trials:
            if trial.is_over and trial is not best:
                runner.drop_model(trial.name)
        on_change(study)
        if study.is_over:
            return study


def kept_model(folder: StudyFolder, name: str) -> Path:
    """The model directory of the best trial of a search that ran in one process.

    Raises:
        ArtifactError: the trial isn't the best one, or its model was deleted.
    """
    return _kept_model(folder.path / _TRIALS, name)


def _kept_model(trials: Path, name: str) -> Path:
    model = trials / name / "model"
    if not model.is_dir():
        raise ArtifactError(
            f"the model of {name} doesn't exist: a search in one process only keeps the model of its best trial"
        )
    return model


class _FellBehindError(TrainingStoppedError):
    """Stops a trial that is worse than the median of earlier ones."""


class _Watch(TrainingHook):
    """Records the objective of each epoch, and stops the training if it falls behind."""

    def __init__(self, objective: str, is_behind: Callable[[Sequence[float]], bool]) -> None:
        self.history: list[float] = []
        self._objective = objective
        self._is_behind = is_behind

    def on_epoch(self, epoch: EpochRecord) -> None:
        value = getattr(epoch, self._objective)
        if math.isfinite(value):
            self.history.append(value)
        if self._is_behind(self.history):
            raise _FellBehindError
