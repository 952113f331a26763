"""Recognizes model directories by the names of their files."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from breedclf.errors import WeightsError

log: logging.Logger = logging.getLogger(__name__)

CARD_FILE = "breedclf.json"
WEIGHTS_FILE = "model.safetensors"
BANK_FILE = "feature_bank.safetensors"
README_FILE = "README.md"
MODEL_FOLDER = "model"


def model_directory_at(path: Path) -> Path:
    """The model directory in a run's output folder; every other path as it is."""
    inner = path / MODEL_FOLDER
    return inner if not has_card(path) and has_card(inner) else path


def has_card(folder: Path) -> bool:
    """Whether there is a model card in this folder."""
    return os.path.isfile(folder / CARD_FILE)  # noqa: PTH113 - Path.is_file raises where the folder may not be entered


def architecture_of(model: Path) -> str:
    """The network of a model directory by its card; empty if the card is damaged, which whoever loads it reports."""
    return str(_card_values(model).get("architecture", ""))


def has_bank(model: Path) -> bool:
    """Whether a model directory has a feature bank by its card."""
    return _card_values(model).get("feature_bank") is not None


def _card_values(model: Path) -> dict[str, Any]:
    """The values of a model's card; empty if it is damaged."""
    try:
        card = json.loads((model / CARD_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def check_no_model(weights: Path) -> None:
    """Log a warning if `weights` is the file of a model, whose head is then unused; `start_from` uses it.

    Raises:
        WeightsError: it is a model directory.
    """
    folder = model_directory_at(weights)
    if has_card(folder):
        raise WeightsError(
            f"weights={str(weights)!r} is a model directory: start_from={str(folder)!r} continues that model; "
            f"weights={str(folder / WEIGHTS_FILE)!r} uses only its backbone"
        )
    if weights.name == WEIGHTS_FILE and has_card(weights.parent):
        log.warning(
            "weights=%s: only the backbone of this model is used, and its head is dropped; start_from=%s keeps it",
            weights,
            weights.parent,
        )
