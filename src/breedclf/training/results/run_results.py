"""The result of a run from what the loop has trained: at its end, and of the best epoch so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from breedclf.config import TrainingConfig
from breedclf.data.training_data import TrainingData
from breedclf.features.extraction import StoredFeatures
from breedclf.features.sources import Sources
from breedclf.files.model_folder import MODEL_FOLDER
from breedclf.models.model import Model
from breedclf.runtime.device import Compute
from breedclf.training.loop import Trained
from breedclf.training.results.artifact import write_results
from breedclf.training.results.best_model import BestModelKeeper
from breedclf.training.results.calibration import ENOUGH_IMAGES, Scores
from breedclf.training.results.fold_scores import fold_scores
from breedclf.training.results.result import FitResult
from breedclf.training.results.trust import COMPUTED_BATCH, MOST_COMPUTED, Trust, final_features, trust_of
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
    compute: Compute

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

    def write(self, trained: Trained, *, is_over: bool = True) -> FitResult:
        """The result, after writing its files.

        While training goes on, no images are passed through the network, and no folds are trained, for the model's
        calibration and feature bank: the model of a run that was killed lacks them if features aren't cached.

        Raises:
            DiskError: the disk refuses; the files that were there before stay.
        """
        result = self.of(trained)
        with self.model.at(trained.state):
            trust = Trust(self.model.network_state())
            if is_over or self.sources.are_cached:
                folds = partial(self._folds, trained) if is_over else lambda: None
                trust = trust_of(self.config, self.model, trust.state, self.sources, folds)
        write_results(result, self.config, self.data, self.model, self.sources, trust, self.start)
        return result

    def _folds(self, trained: Trained) -> Scores | None:
        """Out-of-fold scores of training images; None for a head that wasn't trained from scratch on these features."""
        source = self.sources.evaluation_crops
        if self.config.freeze != "head" or self.start is not None:
            return None
        if not self.sources.are_cached:
            if len(source.targets) > MOST_COMPUTED:
                return None
            images = final_features(self.model, source, torch.arange(len(source.targets)), COMPUTED_BATCH)
            source = StoredFeatures(images.features, source.targets)
        return fold_scores(self.config, self.data, self.model, source, self.compute, trained, ENOUGH_IMAGES)

    def keeper(self, on_best: Callable[[FitResult], None] | None) -> BestModelKeeper | None:
        """Writes the best model so far and passes it on; None if nobody receives it."""
        return None if on_best is None else BestModelKeeper(lambda trained: on_best(self.write(trained, is_over=False)))
