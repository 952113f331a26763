"""The result of a run from what the loop has trained: at its end, and of the best epoch so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.data.training_data import TrainingData
from breedclf.features.sources import Sources
from breedclf.files.model_folder import MODEL_FOLDER
from breedclf.models.model import Model
from breedclf.training.loop import Trained
from breedclf.training.results.artifact import write_results
from breedclf.training.results.best_model import BestModelKeeper
from breedclf.training.results.result import FitResult
from breedclf.training.start_model import Start


@dataclass(frozen=True)
class RunResults:
    """Makes results of one run; `started` is when it started, as `time.perf_counter` counts."""

    config: TrainingConfig
    data: TrainingData
    model: Model
    sources: Sources
    start: Start | None
    output: Path
    started: float

    def of(self, trained: Trained) -> FitResult:
        """The result, whose files aren't written yet."""
        return FitResult(
            artifact=self.output / MODEL_FOLDER,
            output=self.output,
            history=trained.history,
            best_epoch=trained.best_epoch,
            seconds=time.perf_counter() - self.started,
            skipped=self.sources.skipped,
            before=None if self.start is None else self.start.before,
            stopped=trained.stopped,
            features=self.sources.counts,
        )

    def write(self, trained: Trained) -> FitResult:
        """The result, after writing its files.

        Raises:
            DiskError: the disk refuses; the files that were there before stay.
        """
        result = self.of(trained)
        write_results(result, self.config, self.data, self.model, self.sources, trained, self.start)
        return result

    def keeper(self, on_best: Callable[[FitResult], None] | None) -> BestModelKeeper | None:
        """Writes the best model so far and passes it on; None if nobody receives it."""
        return None if on_best is None else BestModelKeeper(lambda trained: on_best(self.write(trained)))
