"""What a training run reads in each epoch: features, activations or images, cached where that pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.data.split import SplitImages
from breedclf.data.training_data import TrainingData
from breedclf.features.digests import ContentDigests, digests_of
from breedclf.features.extraction import FeatureExtractor, torch_engine
from breedclf.features.openvino import engine_name, openvino_backbone
from breedclf.features.pass_share import ALONE, PassShare
from breedclf.features.progress import FeatureProgress
from breedclf.features.provider import FeatureProvider
from breedclf.features.stored_pass import FeatureCounts
from breedclf.features.views import ViewSchedule
from breedclf.files.known_files import KnownFiles
from breedclf.models.model import Model
from breedclf.runtime.device import Compute
from breedclf.runtime.timers import NO_TIMER, StepTimer


@dataclass(frozen=True)
class Sources:
    """The inputs of a training run: one source per view for training, one for validation.

    `valid_kept` is int64 [N], the position in the validation split of each row of `valid`.
    `data_fingerprint` identifies the images. `skipped` has the reasons of unreadable images that are left out.
    `are_cached`: all inputs are features from the store. `counts`: images that passed the backbone before the first
    step, and images whose features were in the store. `plain` has the evaluation crops of the training images, where no
    view is that; its rows are those of `views`.
    """

    views: Mapping[int, FeatureSource]
    schedule: ViewSchedule
    valid: FeatureSource
    valid_kept: torch.Tensor
    data_fingerprint: str
    skipped: list[str]
    are_cached: bool
    counts: FeatureCounts
    plain: FeatureSource | None = None

    @property
    def evaluation_crops(self) -> FeatureSource:
        """The source of the training images as they are evaluated, not augmented."""
        return self.views.get(0, self.plain or self.first)

    @property
    def first(self) -> FeatureSource:
        """The source of the first epoch."""
        return next(iter(self.views.values()))

    def of_epoch(self, epoch: int) -> FeatureSource:
        """The training source of an epoch, counted from 1."""
        return self.views[self.schedule.of_epoch(epoch)]


def make_sources(
    config: TrainingConfig,
    data: TrainingData,
    model: Model,
    compute: Compute,
    *,
    digests: Callable[[SplitImages, KnownFiles | None], ContentDigests] = digests_of,
    timer: StepTimer = NO_TIMER,
    on_progress: Callable[[FeatureProgress], None] = lambda _: None,
    share: PassShare = ALONE,
) -> Sources:
    """Make the inputs of a training run; features that are to be cached are computed now.

    Args:
        config: the settings.
        data: the training and the validation split.
        model: has the frozen backbone.
        compute: device and precision.
        digests: computes the digests of images.
        timer: receives the parts of each step.
        on_progress: called after each chunk of images; its exceptions end the pass over the images.
        share: the processes that share the passes over the images.

    Raises:
        DataError: an image can't be read, unless unreadable ones are skipped and others are left.
        MissingExtraError: OpenVINO isn't installed, with `engine="openvino"`.
    """
    schedule = ViewSchedule.of(config)
    extractor = extractor_of(config, data, model, compute, timer)
    provider = FeatureProvider(config, extractor, model.input_shape, digests, on_progress, share=share)
    requests = [(data.train, view, epochs) for view, epochs in schedule.counts.items()]
    *train, valid = (provider.source(*each) for each in [*requests, (data.valid, 0, config.epochs)])
    views = dict(zip(schedule.counts, train, strict=True))
    return Sources(
        views,
        schedule,
        valid,
        valid.kept,
        provider.data_fingerprint,
        provider.skipped,
        provider.store is not None and config.freeze == "head",
        provider.counts,
        None if 0 in views else provider.computed_again(data.train, train[0].kept),
    )


def extractor_of(
    config: TrainingConfig, data: TrainingData, model: Model, compute: Compute, timer: StepTimer = NO_TIMER
) -> FeatureExtractor:
    """What computes the inputs of a training run.

    Raises:
        MissingExtraError: OpenVINO isn't installed, with `engine="openvino"`.
    """
    make_backbone: Callable[[], nn.Module] = partial(model.trunk, compute)
    engine = torch_engine(config.architecture)
    preprocessing = model.pretrained.preprocessing
    if config.engine == "openvino":
        make_backbone = partial(openvino_backbone, config, model.pretrained.state, preprocessing, compute.precision)
        engine = engine_name(config, data, compute.precision)
    return FeatureExtractor(
        make_backbone=make_backbone,
        engine=engine,
        preprocessing=preprocessing,
        compute=compute,
        weights_fingerprint=model.pretrained.fingerprint,
        chunk_size=config.chunk_size,
        view_seed=config.view_seed,
        workers=config.workers,
        stop_at_bad=config.on_bad_image == "error",
        timer=timer,
        stages=model.frozen_up_to,
        pin_memory=config.pin_memory,
        device_decoding=config.device_decoding,
        name=f"{config.architecture} {Path(config.weights).name}",
    )
