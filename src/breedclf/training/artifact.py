"""What a run leaves: the model directory, the settings, the history, and a warning about unreadable images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.config.files import render_settings
from breedclf.data.training_data import TrainingData
from breedclf.inference.model_directory import write_artifact
from breedclf.jobs import RESULT_FILE
from breedclf.models.model import Model
from breedclf.text.plain_json import plain_json
from breedclf.training.loop import Trained

log: logging.Logger = logging.getLogger(__name__)

HISTORY_FILE = "history.jsonl"
CONFIG_FILE = "config.json"
_MAX_SKIPPED_SHOWN = 10


def report_skipped(skipped: Sequence[str]) -> None:
    """Log a warning about the images that were left out."""
    if skipped:
        shown = "".join(f"\n  {reason}" for reason in skipped[:_MAX_SKIPPED_SHOWN])
        more = f"\n  and {len(skipped) - _MAX_SKIPPED_SHOWN} more" if len(skipped) > _MAX_SKIPPED_SHOWN else ""
        log.warning("%d unreadable images were skipped:%s%s", len(skipped), shown, more)


def write_results(
    folder: Path,
    config: TrainingConfig,
    data: TrainingData,
    model: Model,
    data_fingerprint: str,
    trained: Trained,
    *,
    skipped: Sequence[str],
    seconds: float,
) -> None:
    """Write the model directory `folder`, and beside it what `FitResult.load` reads: settings, history, the rest.

    Raises:
        DiskError: the disk refuses; the files that were there before stay.
    """
    best = trained.history[trained.best_epoch - 1].to_dict()
    card = {
        "architecture": config.architecture,
        "labels": data.labels,
        "class_names": data.class_names,
        "preprocessing": model.pretrained.preprocessing,
        "min_confidence": config.min_confidence,
        "metrics": {name: best[name] for name in ("valid_loss", "valid_accuracy")},
        "data_fingerprint": data_fingerprint,
        "training": config.to_dict() | {"best_epoch": trained.best_epoch},
    }
    history = "".join(plain_json(record.to_dict()) + "\n" for record in trained.history)
    rest = plain_json({"skipped": list(skipped), "seconds": round(seconds, 3)}) + "\n"
    beside = {
        CONFIG_FILE: render_settings(config.to_dict(), Path(CONFIG_FILE)),
        HISTORY_FILE: history,
        RESULT_FILE: rest,
    }
    write_artifact(folder, card, model.state_with(trained.state), beside)
