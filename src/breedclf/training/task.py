"""The training task: what is trained, on which inputs, with which loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.layout.names import some_names
from breedclf.data.sources import FeatureSource
from breedclf.data.training_data import TrainingData
from breedclf.errors import DataError
from breedclf.features.sources import Sources
from breedclf.models.model import Model
from breedclf.training.custom.code import OwnCode
from breedclf.training.custom.metrics import OwnMetrics
from breedclf.training.custom.sampler import Sampler, Shuffle
from breedclf.training.losses import BatchLoss, Loss, class_weights

_NO_OWN_CODE = OwnCode()


@dataclass(frozen=True)
class TrainingTask:
    """What the loop trains.

    Args:
        module: maps a batch of inputs to scores [B, classes].
        source: the training inputs of an epoch, counted from 1.
        valid: the validation inputs.
        loss: the training loss.
        sampler: draws the rows of each epoch.
        metrics: own metrics of the validation images.
        fixed_statistics: whether batch norms keep their statistics.
        threads: CPU threads to compute with; None for all.
        labels: the class labels.
        valid_images: makes the names of the validation images, in the order of their rows.
    """

    module: nn.Module
    source: Callable[[int], FeatureSource]
    valid: FeatureSource
    loss: BatchLoss = field(default_factory=Loss)
    sampler: Sampler = field(default_factory=Shuffle)
    metrics: OwnMetrics = field(default_factory=OwnMetrics)
    fixed_statistics: bool = True
    threads: int | None = None
    labels: Sequence[str] = ()
    valid_images: Callable[[], Sequence[str]] = tuple


def training_task(
    config: TrainingConfig,
    data: TrainingData,
    model: Model,
    sources: Sources,
    own: OwnCode = _NO_OWN_CODE,
    *,
    needs_scaling: bool = True,
) -> TrainingTask:
    """The task of training a model on sources, with own code; the head gets the scaling of its features.

    `needs_scaling` is off if a checkpoint provides the scaling.

    Raises:
        DataError: a class has no readable training image.
    """
    if config.head != "linear" and needs_scaling:
        model.scale_by(sources.first, config.chunk_size)
    targets = sources.first.targets
    counts = torch.bincount(targets.cpu(), minlength=len(data.labels)).tolist()
    if unread := [label for label, count in zip(data.labels, counts, strict=True) if not count]:
        raise DataError(
            f"no training image of {some_names(unread)} can be read, so the class can't be learned: replace "
            "the images, or move the class folders elsewhere"
        )
    return TrainingTask(
        model.module,
        sources.of_epoch,
        sources.valid,
        _loss(config, counts, targets.device) if own.loss is None else own.loss.on(targets.device),
        own.sampler,
        own.metrics,
        fixed_statistics=config.freeze == "head" or config.keeps_statistics,
        # Steps on cached features are too small to parallelize, and parallel sums would depend on the number of cores.
        threads=1 if sources.are_cached else None,
        labels=data.labels,
        valid_images=lambda: tuple(data.valid.images.name(row) for row in sources.valid_kept.tolist()),
    )


def _loss(config: TrainingConfig, counts: Sequence[int], device: torch.device) -> Loss:
    weights = class_weights(config.class_weights, counts)
    return Loss(None if weights is None else weights.to(device), config.label_smoothing)
