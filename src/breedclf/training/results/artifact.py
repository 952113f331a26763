"""What a run leaves: the model directory, the settings, the history, and a warning about unreadable images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.config import TrainingConfig
from breedclf.config.files import render_settings
from breedclf.data.training_data import TrainingData
from breedclf.features.sources import Sources
from breedclf.inference.model_directory import write_artifact
from breedclf.inference.readme.measured import COUNTS_KEY
from breedclf.jobs import RESULT_FILE
from breedclf.models.model import Model
from breedclf.text.plain_json import plain_json, plain_values
from breedclf.training.results.trust import Trust
from breedclf.training.start_model import Start

if TYPE_CHECKING:
    from breedclf.training.results.result import FitResult

log: logging.Logger = logging.getLogger(__name__)

HISTORY_FILE = "history.jsonl"
CONFIG_FILE = "config.json"
IMAGES_FILE = "images.json"
_MAX_SKIPPED_SHOWN = 10


def report_skipped(skipped: Sequence[str]) -> None:
    """Log a warning about the images that were left out."""
    if skipped:
        shown = "".join(f"\n  {reason}" for reason in skipped[:_MAX_SKIPPED_SHOWN])
        more = f"\n  and {len(skipped) - _MAX_SKIPPED_SHOWN} more" if len(skipped) > _MAX_SKIPPED_SHOWN else ""
        log.warning("%d unreadable images were skipped:%s%s", len(skipped), shown, more)


def described_images(data: TrainingData, fingerprint: str) -> dict[str, dict[str, object]]:
    """What is recorded of images that a program gave: their kind, numbers and fingerprint; empty for a folder."""
    if data.kind is None:
        return {}
    counts = {split.name: len(split) for split in (data.train, data.valid)}
    return {"images": {"kind": data.kind, **counts, "fingerprint": fingerprint}}


def write_results(
    result: FitResult,
    config: TrainingConfig,
    data: TrainingData,
    model: Model,
    sources: Sources,
    trust: Trust,
    start: Start | None = None,
) -> None:
    """Write the model directory, and beside it what `FitResult.load` reads: settings, history, the rest.

    Raises:
        DiskError: the disk refuses; the files that were there before stay.
    """
    images = described_images(data, sources.data_fingerprint)
    counts = {"train": len(sources.first.targets), "valid": len(sources.valid.targets)}
    card = {
        "architecture": config.architecture,
        "labels": data.labels,
        "class_names": data.class_names,
        "preprocessing": model.pretrained.preprocessing,
        "min_confidence": config.min_confidence,
        "metrics": plain_values(
            {"valid_loss": result.best.valid_loss, "valid_accuracy": result.best.valid_accuracy, **result.best.metrics}
        ),
        "data_fingerprint": sources.data_fingerprint,
        "training": config.to_dict() | images | {"best_epoch": result.best_epoch, COUNTS_KEY: counts},
        "backbone": model.pretrained.record,
        "start_from": None if start is None else start.record,
        "calibration": trust.calibration,
        "conformal": trust.conformal,
    }
    history = "".join(plain_json(record.to_dict()) + "\n" for record in result.history)
    rest = {"skipped": result.skipped, "seconds": round(result.seconds, 3), **result.optional()}
    beside = {
        CONFIG_FILE: render_settings(config.to_dict(), Path(CONFIG_FILE)),
        HISTORY_FILE: history,
        RESULT_FILE: plain_json(rest) + "\n",
    }
    if images:
        beside[IMAGES_FILE] = plain_json(images["images"]) + "\n"
    fingerprint = model.pretrained.fingerprint if model.freeze == "head" else None
    write_artifact(result.artifact, card, trust.state, beside, fingerprint, trust.bank)
