"""Heads trained on the features of a backbone, fold by fold, and their predictions of the images left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.backbones.folds import ALWAYS_TRAINED
from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.data.training_data import TrainingData
from breedclf.features.sources import Sources
from breedclf.features.stored_pass import FeatureCounts
from breedclf.features.views import ViewSchedule
from breedclf.models.model import build_model
from breedclf.models.weights import PretrainedWeights
from breedclf.runtime.device import Compute
from breedclf.training.custom.code import own_code
from breedclf.training.loop import Callbacks, train
from breedclf.training.records import EpochRecord
from breedclf.training.task import training_task
from breedclf.training.valid_predictions import ValidPredictions


@dataclass(frozen=True)
class SomeRows:
    """Some rows of a source of features, int64 [N]."""

    source: FeatureSource
    rows: torch.Tensor

    @property
    def targets(self) -> torch.Tensor:
        return self.source.targets[self.rows.to(self.source.targets.device)]

    def batches(self, rows: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.source.batches(self.rows[rows], batch_size)


def out_of_fold(
    config: TrainingConfig,
    data: TrainingData,
    pretrained: PretrainedWeights,
    source: FeatureSource,
    folds: Sequence[int],
    compute: Compute,
) -> NDArray[np.bool_]:
    """Whether each image is classified correctly by a head that was trained on the other folds, bool [N].

    The heads are those of a training run with these settings, after its last epoch: no images are left that could
    choose a better one. Images with the fold ALWAYS_TRAINED count as False.

    Raises:
        TrainingError: the loss is NaN or infinite, or own code fails.
    """
    of_row = torch.tensor(folds)
    correct = np.zeros(len(folds), dtype=bool)
    for fold in sorted({*folds} - {ALWAYS_TRAINED}):
        left_out = (of_row == fold).nonzero().flatten()
        rest = (of_row != fold).nonzero().flatten()
        predicted = _predictions(config, data, pretrained, SomeRows(source, rest), SomeRows(source, left_out), compute)
        correct[left_out.numpy()] = predicted.is_correct.numpy()
    return correct


def _predictions(
    config: TrainingConfig,
    data: TrainingData,
    pretrained: PretrainedWeights,
    trained_on: SomeRows,
    left_out: SomeRows,
    compute: Compute,
) -> ValidPredictions:
    """What a head predicts for the images left out, after its last epoch."""
    model = build_model(config, pretrained, classes=len(data.labels), compute=compute)
    schedule = ViewSchedule.of(config)
    views: Mapping[int, FeatureSource] = dict.fromkeys(schedule.counts, trained_on)
    kept = torch.arange(len(left_out.rows))
    sources = Sources(views, schedule, left_out, kept, "", [], are_cached=True, counts=FeatureCounts())
    task = replace(training_task(config, data, model, sources, own_code(config, data.class_counts)), valid_images=tuple)
    last: list[ValidPredictions] = []

    def keep(_epoch: EpochRecord, predictions: ValidPredictions) -> None:
        last[:] = [predictions]

    train(task, config, callbacks=Callbacks(on_valid=[keep]))
    return last[0]
