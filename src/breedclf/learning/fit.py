"""One training from settings to artifact: scan, frozen features, head, model folder."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError, DataError
from breedclf.learning.artifact import CARD_FILE, write_artifact
from breedclf.learning.classifier import Classifier
from breedclf.learning.device import Compute, compute_for, repeatable
from breedclf.learning.feature_cache import FeatureCache, Features
from breedclf.learning.features import (
    FeatureExtractor,
    FeatureSource,
    StoredFeatures,
    StreamedFeatures,
    bad_picture,
    features_of,
    fingerprint_of,
)
from breedclf.learning.hooks import EpochRecord, TrainingHook, TrainingPlan
from breedclf.learning.loop import Callbacks, TrainedHead, train_head
from breedclf.learning.model import StateDict, feature_count, frozen_backbone
from breedclf.learning.output_folder import writable
from breedclf.learning.preprocessing import Preprocessing
from breedclf.learning.scan import PictureFolder, Split, scan
from breedclf.learning.timing import StepTimer, all_of
from breedclf.learning.weights import preprocessing_for
from breedclf.learning.workbench import Workbench

log = logging.getLogger(__name__)

MODEL_FOLDER = "model"
HISTORY_FILE = "history.jsonl"
CONFIG_FILE = "config.json"
_MAX_SKIPPED_SHOWN = 10


@dataclass(frozen=True)
class FitResult:
    """What a training leaves behind.

    `artifact` is the model folder below `output`; `history` has one record an epoch; `best_epoch` counts from 1;
    `skipped` holds the reasons of pictures left out.
    """

    artifact: Path
    output: Path
    history: list[EpochRecord]
    best_epoch: int
    seconds: float
    skipped: list[str]

    @cached_property
    def classifier(self) -> Classifier:
        """The trained model, ready to predict."""
        return Classifier(self.artifact)

    @property
    def best(self) -> EpochRecord:
        return self.history[self.best_epoch - 1]

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf train --json`."""
        return {
            "artifact": str(self.artifact),
            "output": str(self.output),
            "history": [record.to_dict() for record in self.history],
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 3),
            "skipped": self.skipped,
        }


def fit(config: TrainingConfig, *, hooks: Sequence[TrainingHook] = (), workbench: Workbench | None = None) -> FitResult:
    """Train in this process and write the artifact; the test split is never touched.

    Trainings that follow each other save time by sharing a `workbench`.

    Raises:
        ConfigError: the output can't be written, or the device isn't there.
        DataError: the pictures can't be used; by default also when one of them can't be read.
        WeightsError: the pretrained weights can't be had or don't fit.
        TrainingError: the loss is no longer a number.
    """
    started = time.perf_counter()
    output = _writable_output(config)
    folder = scan(
        config.data, valid_share=config.valid_share, test_share=config.test_share, split_seed=config.split_seed
    )
    train, valid = folder.split("train"), folder.split("valid")
    compute = compute_for(
        config.device, config.precision, channels_last=config.channels_last, compiled=config.compile_network
    )
    counts = torch.bincount(torch.tensor(train.targets), minlength=len(folder.labels)).tolist()
    plan = TrainingPlan(
        config,
        folder.labels,
        len(train),
        len(valid),
        compute.device.type,
        compute.precision,
        class_counts=tuple(counts),
        output=output,
    )
    timer = all_of([hook.timer for hook in hooks if hook.timer is not None])
    for hook in hooks:
        hook.on_start(plan)
    with repeatable(config.deterministic):
        preprocessing = preprocessing_for(config.architecture, config.weights)
        state, weights_fingerprint = (workbench or Workbench()).weights(config)
        frozen = _FrozenPart(config, _extractor(config, state, weights_fingerprint, preprocessing, compute, timer))
        views = [frozen.source(train, view) for view in range(min(config.views, config.epochs))]
        trained = train_head(
            views,
            frozen.source(valid, 0),
            config,
            classes=len(folder.labels),
            features=feature_count(state),
            device=compute.device,
            callbacks=Callbacks([hook.on_step for hook in hooks], [hook.on_epoch for hook in hooks], timer),
        )
    _report_skipped(frozen.skipped)
    artifact = _write(output, config, folder, preprocessing, state, trained, frozen.data_fingerprint)
    result = FitResult(
        artifact, output, trained.history, trained.best_epoch, time.perf_counter() - started, frozen.skipped
    )
    for hook in hooks:
        hook.on_end(result)
    return result


class _FrozenPart:
    """Turns splits into sources of features, cached or exact, and remembers what had to be left out."""

    def __init__(self, config: TrainingConfig, extractor: FeatureExtractor) -> None:
        self.config = config
        self.extractor = extractor
        self.cache = FeatureCache.at(config.cache_dir) if config.feature_cache else None
        self.fingerprints: dict[str, str] = {}
        self.skipped: list[str] = []

    def source(self, split: Split, view: int) -> FeatureSource:
        if split.name not in self.fingerprints:
            self.fingerprints[split.name] = fingerprint_of(split.paths)
        title = f"{split.name} features" + (f", view {view}" if view else "")
        features = self._features(split, view, title)
        self._account_for(features)
        targets = torch.tensor(split.targets)[features.kept].to(self.extractor.compute.device)
        if self.cache is None:
            return StreamedFeatures(self.extractor, split.paths, features.kept, targets, view)
        return StoredFeatures(features.values.to(self.extractor.compute.device), targets)

    @property
    def data_fingerprint(self) -> str:
        text = json.dumps(self.fingerprints, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _features(self, split: Split, view: int, title: str) -> Features:
        if self.cache is None:
            return self.extractor.readable(split.paths, title=f"checking {split.name}")
        return features_of(
            self.extractor, split.paths, self.fingerprints[split.name], self.cache, view=view, title=title
        )

    def _account_for(self, features: Features) -> None:
        reasons = list(features.bad.values())
        if reasons and self.config.on_bad_image == "error":
            raise bad_picture(reasons[0])
        if not len(features.kept):
            raise DataError(f"none of the {len(reasons)} pictures can be read; the first: {reasons[0]}")
        self.skipped += [reason for reason in reasons if reason not in self.skipped]


def _extractor(
    config: TrainingConfig,
    state: StateDict,
    weights_fingerprint: str,
    preprocessing: Preprocessing,
    compute: Compute,
    timer: StepTimer,
) -> FeatureExtractor:
    return FeatureExtractor(
        make_backbone=partial(frozen_backbone, config.architecture, state, compute),
        preprocessing=preprocessing,
        compute=compute,
        weights_fingerprint=weights_fingerprint,
        chunk_size=config.chunk_size,
        view_seed=config.view_seed,
        workers=config.workers,
        stop_at_bad=config.on_bad_image == "error",
        timer=timer,
        pin_memory=config.pin_memory,
    )


def _writable_output(config: TrainingConfig) -> Path:
    """The output folder, made and tried; the default one gets a number when it is taken.

    Raises:
        ConfigError: it can't be written, or its model folder holds something else.
    """
    output = writable(config.output if "output" in config.model_fields_set else _free(config.output))
    model = output / MODEL_FOLDER
    if model.exists() and not (model / CARD_FILE).is_file() and list(model.iterdir()):
        raise ConfigError(f"output={str(output)!r}: {model} holds something that is no breedclf model; choose another")
    return output


def _free(output: Path) -> Path:
    """The folder itself, or with the first number under which no model lies."""
    numbered = (output.with_name(f"{output.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([output], numbered) if not (folder / MODEL_FOLDER).exists())


def _write(
    output: Path,
    config: TrainingConfig,
    folder: PictureFolder,
    preprocessing: Preprocessing,
    state: StateDict,
    trained: TrainedHead,
    data_fingerprint: str,
) -> Path:
    best = trained.history[trained.best_epoch - 1]
    card = {
        "architecture": config.architecture,
        "labels": folder.labels,
        "class_names": folder.class_names,
        "preprocessing": preprocessing,
        "min_confidence": config.min_confidence,
        "metrics": {"valid_loss": best.valid_loss, "valid_accuracy": best.valid_accuracy},
        "data_fingerprint": data_fingerprint,
        "training": config.to_dict() | {"best_epoch": trained.best_epoch},
    }
    head = {f"fc.{name}": value for name, value in trained.layer.state_dict().items()}
    artifact = output / MODEL_FOLDER
    write_artifact(artifact, card, state | head)
    config.to_file(output / CONFIG_FILE)
    lines = [json.dumps(record.to_dict()) + "\n" for record in trained.history]
    (output / HISTORY_FILE).write_text("".join(lines), encoding="utf-8")
    return artifact


def _report_skipped(skipped: Sequence[str]) -> None:
    if skipped:
        shown = "".join(f"\n  {reason}" for reason in skipped[:_MAX_SKIPPED_SHOWN])
        more = f"\n  and {len(skipped) - _MAX_SKIPPED_SHOWN} more" if len(skipped) > _MAX_SKIPPED_SHOWN else ""
        log.warning("%d unreadable pictures were skipped:%s%s", len(skipped), shown, more)
