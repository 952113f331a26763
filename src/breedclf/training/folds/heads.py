"""Heads trained on the features of a backbone, fold by fold, and their predictions of the images left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

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
from breedclf.training.folds.stratified import ALWAYS_TRAINED
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
    *,
    epoch: int | None = None,
) -> Iterator[tuple[torch.Tensor, ValidPredictions]]:
    """For each fold its rows, int64 [B], and the predictions of them by a head that was trained on the other folds.

    The heads are those of a training run with these settings. A head is trained when its predictions are asked for, so
    that the first folds can be had alone.

    Args:
        config: how heads are trained.
        data: has the classes.
        pretrained: has the width of the features.
        source: the features.
        folds: of each row; rows with the fold ALWAYS_TRAINED aren't predicted.
        compute: device and precision.
        epoch: the epoch after which a head predicts; the last if None, as no images are left to choose a better one by.

    Raises:
        TrainingError: the loss is NaN or infinite, or own code fails.
    """
    of_row = torch.tensor(folds)
    for fold in sorted({*folds} - {ALWAYS_TRAINED}):
        left_out = (of_row == fold).nonzero().flatten()
        rest = (of_row != fold).nonzero().flatten()
        of_rest, of_fold = SomeRows(source, rest), SomeRows(source, left_out)
        yield left_out, _predictions(config, data, pretrained, of_rest, of_fold, compute, epoch or config.epochs)


def _predictions(
    config: TrainingConfig,
    data: TrainingData,
    pretrained: PretrainedWeights,
    trained_on: SomeRows,
    left_out: SomeRows,
    compute: Compute,
    epoch: int,
) -> ValidPredictions:
    """What a head predicts for the images left out, after this epoch."""
    model = build_model(config, pretrained, classes=len(data.labels), compute=compute)
    schedule = ViewSchedule.of(config)
    views: Mapping[int, FeatureSource] = dict.fromkeys(schedule.counts, trained_on)
    kept = torch.arange(len(left_out.rows))
    sources = Sources(views, schedule, left_out, kept, "", [], are_cached=True, counts=FeatureCounts())
    task = replace(training_task(config, data, model, sources, own_code(config, data.class_counts)), valid_images=tuple)
    found: list[ValidPredictions] = []

    def keep(record: EpochRecord, predictions: ValidPredictions) -> None:
        if record.epoch == epoch:
            found.append(predictions)

    train(task, config, callbacks=Callbacks(on_valid=[keep]))
    return found[0]
