"""Scores of training images by heads that weren't trained on them, for calibration with few validation images."""

from __future__ import annotations

import logging

import torch

from breedclf.config import TrainingConfig
from breedclf.config.import_path import NO_METRICS
from breedclf.data.sources import FeatureSource
from breedclf.data.training_data import TrainingData
from breedclf.errors import BreedclfError
from breedclf.models.model import Model
from breedclf.runtime.device import Compute
from breedclf.training.folds.heads import out_of_fold
from breedclf.training.folds.stratified import MOST_FOLDS, stratified_folds
from breedclf.training.loop import Trained
from breedclf.training.results.calibration import Scores

log: logging.Logger = logging.getLogger(__name__)

_LEAST_PROBABILITY = 1e-37


def fold_scores(
    config: TrainingConfig,
    data: TrainingData,
    model: Model,
    source: FeatureSource,
    compute: Compute,
    trained: Trained,
    enough: int,
) -> Scores | None:
    """The out-of-fold scores of training images, or of about `enough` of them; None if there can't be any.

    Args:
        config: the settings of the run, whose head alone is trained, from scratch.
        data: has the classes.
        model: has the width of the features.
        source: the training features.
        compute: device and precision.
        trained: the run: folds train as long, in as many steps per epoch, and predict after its best epoch.
        enough: no further fold is trained once this many images are predicted.
    """
    targets = source.targets.tolist()
    settings = config.replace(
        epochs=len(trained.history),
        batch_size=_batch_size(config, len(targets)),
        gradient_accumulation_steps=1,
        patience=None,
        metrics=NO_METRICS,
    )
    values, rows, count = [], [], 0
    try:
        folds = stratified_folds(targets, [""] * len(targets), config.split_seed)
        for row, predictions in out_of_fold(
            settings, data, model.pretrained, source, folds, compute, epoch=trained.best_epoch
        ):
            values.append(predictions.probabilities.double().clamp_min(_LEAST_PROBABILITY).log())
            rows.append(row)
            count += len(row)
            if count >= enough:
                break
    except BreedclfError as error:  # no class has two images, or own code can't train on fewer
        log.debug("no out-of-fold scores: %s", error)
        return None
    return Scores(torch.cat(values), source.targets.cpu()[torch.cat(rows)])


def _batch_size(config: TrainingConfig, images: int) -> int:
    """The batch size with which a fold takes as many steps per epoch as the run.

    The scale of the scores depends on the number of steps.
    """
    steps = -(-images // config.batch_size)
    return max(1, -(-(images - images // MOST_FOLDS) // steps))
