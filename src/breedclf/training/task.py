"""From settings, pictures and weights to a lesson: the frozen part cut off, the trained part new, both ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.image_folder import ImageFolder
from breedclf.data.layout.names import some_names
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.sources import FeatureSource
from breedclf.errors import DataError
from breedclf.features.extraction import TORCH, FeatureExtractor
from breedclf.features.openvino import engine_name, openvino_backbone
from breedclf.features.provider import FeatureProvider, view_of, views_of
from breedclf.models.head import MOMENTS_BATCH, ScaledLinear, Scaling, new_head
from breedclf.models.network import StateDict, feature_count
from breedclf.models.stages import Tail, tail_input_shape, trunk
from breedclf.models.weights import preprocessing_for
from breedclf.runtime.device import Compute
from breedclf.runtime.timers import NO_TIMER, StepTimer
from breedclf.training.loop import TrainingTask
from breedclf.training.losses import Loss, class_weights
from breedclf.training.run_cache import RunCache

_MOST_FOR_MOMENTS = 2_048


@dataclass(frozen=True)
class Prepared:
    """A lesson with what it was made from; `skipped` grows while pictures that can't be read are met."""

    lesson: TrainingTask
    folder: ImageFolder
    preprocessing: Preprocessing
    pretrained: StateDict
    data_fingerprint: str
    weights_fingerprint: str
    skipped: list[str]

    def state_with(self, trained: StateDict) -> StateDict:
        """The whole network's weights with the trained ones among them; the scaling is folded into the last layer."""
        head = self.lesson.module.fc if isinstance(self.lesson.module, Tail) else self.lesson.module
        assert isinstance(head, ScaledLinear)
        self.lesson.module.load_state_dict(trained)
        stages = {name: value for name, value in trained.items() if not name.startswith("fc.")}
        stages = stages if isinstance(self.lesson.module, Tail) else {}
        last = {f"fc.{name}": value for name, value in head.folded().state_dict().items()}
        return self.pretrained | stages | last


def prepare(
    config: TrainingConfig,
    folder: ImageFolder,
    compute: Compute,
    *,
    run_cache: RunCache,
    timer: StepTimer = NO_TIMER,
    needs_scaling: bool = True,
) -> Prepared:
    """Read, check and keep what is trained on, and make the part that is trained.

    `needs_scaling` is off where a checkpoint brings the scaling of features along.

    Raises:
        DataError: the pictures can't be used.
        WeightsError: the pretrained weights can't be had or don't fit.
    """
    preprocessing = preprocessing_for(config.architecture, config.weights)
    preprocessing = preprocessing.model_copy(update={"dct_scaling": config.dct_scaling})
    state, fingerprint = run_cache.weights(config)
    make_backbone: Callable[[], nn.Module] = partial(trunk, config.architecture, state, config.freeze, compute)
    engine = TORCH
    if config.engine == "openvino":
        make_backbone = partial(openvino_backbone, config, state, preprocessing, compute.precision)
        engine = engine_name(config, folder, compute.precision)
    extractor = FeatureExtractor(
        make_backbone=make_backbone,
        engine=engine,
        preprocessing=preprocessing,
        compute=compute,
        weights_fingerprint=fingerprint,
        chunk_size=config.chunk_size,
        view_seed=config.view_seed,
        workers=config.workers,
        stop_at_bad=config.on_bad_image == "error",
        timer=timer,
        as_float32=config.freeze == "head",
        pin_memory=config.pin_memory,
        device_decoding=config.device_decoding,
    )
    shape = () if config.freeze == "head" else tail_input_shape(state, config.freeze, preprocessing.crop_px)
    frozen = FeatureProvider(config, extractor, shape, fingerprint=run_cache.fingerprint)
    train, valid = folder.split("train"), folder.split("valid")
    views = {view: frozen.source(train, view, epochs=count) for view, count in views_of(config).items()}
    valid_source = frozen.source(valid, 0, epochs=config.epochs)
    classes = len(folder.labels)
    head = new_head(feature_count(state), classes, config)
    module: ScaledLinear | Tail = head
    fixed = config.keeps_statistics
    if config.freeze != "head":
        module = Tail.of(
            config.architecture,
            state,
            config.freeze,
            head,
            fixed_statistics=fixed,
            compute=compute,
            checkpointing=config.activation_checkpointing,
        )
    module.to(compute.device)
    if config.head == "standardized" and needs_scaling:
        head.use(_scaling(module, views[view_of(config, 1)], config))
    counts = torch.bincount(next(iter(views.values())).targets.cpu(), minlength=classes).tolist()
    if unread := [label for label, count in zip(folder.labels, counts, strict=True) if not count]:
        raise DataError(
            f"no training picture of {some_names(unread)} can be read, so nothing would be learned of them: replace "
            "the pictures, or move the class folders elsewhere"
        )
    weights = class_weights(config.class_weights, counts)
    lesson = TrainingTask(
        module,
        _source_of(config, views),
        valid_source,
        Loss(None if weights is None else weights.to(compute.device), config.label_smoothing),
        fixed_statistics=config.freeze == "head" or fixed,
        # Steps on kept features are too small to share, and shared sums would depend on the number of cores.
        threads=1 if frozen.cache is not None else None,
    )
    return Prepared(lesson, folder, preprocessing, state, frozen.data_fingerprint, fingerprint, frozen.skipped)


def _source_of(config: TrainingConfig, views: dict[int, FeatureSource]) -> Callable[[int], FeatureSource]:
    return lambda epoch: views[view_of(config, epoch)]


@torch.inference_mode()
def _moments_of_tail(tail: Tail, source: FeatureSource, config: TrainingConfig) -> Scaling:
    tail.eval()
    return Scaling.of(source, config.chunk_size, features=tail.features, most=_MOST_FOR_MOMENTS)


def _scaling(module: ScaledLinear | Tail, source: FeatureSource, config: TrainingConfig) -> Scaling:
    if isinstance(module, Tail):
        return _moments_of_tail(module, source, config)
    return Scaling.of(source, MOMENTS_BATCH)
