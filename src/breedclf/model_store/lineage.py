"""Where a model comes from, read from its card and the files beside it; torch isn't needed for it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from breedclf.config.base import explain
from breedclf.errors import ArtifactError, ConfigError
from breedclf.files.model_folder import BANK_FILE, CARD_FILE, README_FILE, WEIGHTS_FILE
from breedclf.model_store.records import Lineage
from breedclf.text.plain_json import plain_values

_TABLES = ("metrics", "training", "start_from", "calibration", "feature_bank")
METRICS_FILE = "metrics.json"  # `evaluate` writes it


def card_of(folder: Path) -> dict[str, Any]:
    """The values of a model's card.

    Raises:
        ArtifactError: the folder has none, or it can't be read.
    """
    path = folder / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder} is not a breedclf model: it has no {CARD_FILE}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} can't be read: {error}; train again, or restore it from a copy") from error
    if not isinstance(card, dict) or not isinstance(card.get("labels"), list) or "weights_sha256" not in card:
        raise ArtifactError(f"{path} is not a model card of breedclf")
    for name in _TABLES:
        if not isinstance(card.get(name) or {}, dict):
            raise ArtifactError(f"{path} is not a model card of breedclf: {name} is {card[name]!r}")
    return card


def files_of(folder: Path, card: Mapping[str, Any]) -> list[str]:
    """The names of the files that belong to a model.

    Raises:
        ArtifactError: one is missing.
    """
    needed = [CARD_FILE, WEIGHTS_FILE, *([BANK_FILE] if card.get("feature_bank") else [])]
    for name in needed:
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder} has no {name}; train again, or restore it from a copy")
    return needed + ([README_FILE] if (folder / README_FILE).is_file() else [])


def check_whole(folder: Path, card: Mapping[str, Any], sha256: Mapping[str, str]) -> None:
    """Check that the files of a model are those that its card names.

    Raises:
        ArtifactError: they are of another model, for instance because it is being written right now.
    """
    expected = {WEIGHTS_FILE: card["weights_sha256"]}
    if bank := card.get("feature_bank"):
        expected[BANK_FILE] = bank.get("sha256")
    for name, wanted in expected.items():
        if sha256[name] != wanted:
            raise ArtifactError(
                f"{folder / name} isn't the file that {CARD_FILE} names: it is damaged, or changed just now; add the "
                "model once it is complete"
            )


def lineage_of(folder: Path, card: Mapping[str, Any], **known: str | None) -> Lineage:
    """The lineage in a card and in the files beside a model; `known` are fields that the caller knows.

    Raises:
        ConfigError: a field is unknown.
        ArtifactError: a value has the wrong type.
    """
    if unknown := sorted(known.keys() - Lineage.model_fields.keys()):
        raise ConfigError(f"lineage has no field {unknown[0]!r}; there are: {', '.join(Lineage.model_fields)}")
    training, before = card.get("training") or {}, card.get("start_from") or {}
    evaluation = evaluation_of(folder, card)
    values: dict[str, Any] = {
        "data": training.get("data"),
        "data_fingerprint": card.get("data_fingerprint") or "",
        "config": training,
        "code": card.get("bundle_sha256"),
        "breedclf_version": card.get("breedclf_version", ""),
        "torch_version": card.get("torch_version", ""),
        "started_from": before.get("fingerprint"),
        "profile": _beside(folder, "profile/profile.json"),
        "evaluation": None if evaluation is None else str(evaluation.parent),
    }
    values |= {name: value for name, value in known.items() if value is not None}
    try:
        return Lineage(**plain_values(values))
    except ValidationError as error:
        raise ArtifactError(f"{folder}: {explain(error, Lineage.model_fields)}") from error


def config_changes(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """The training settings that differ between two versions, by name: the values before and after.

    Example:
        >>> config_changes({"epochs": 2, "seed": 0}, {"epochs": 3, "seed": 0})
        {'epochs': (2, 3)}
    """
    names = sorted(before.keys() | after.keys())
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def evaluation_of(folder: Path, card: Mapping[str, Any]) -> Path | None:
    """The file with the metrics of an evaluation on test images beside a model; None if there is none of this model."""
    file = folder.parent / "evaluation-test" / METRICS_FILE
    metrics = _values(file)
    if metrics is None or not _is_of(metrics, card):
        return None
    is_newer = file.stat().st_mtime >= (folder / CARD_FILE).stat().st_mtime
    names_model = metrics.get("weights_sha256") or card.get("calibration")  # a temperature identifies the model
    return file if names_model or is_newer else None


def measured(card: Mapping[str, Any], evaluation: str | None) -> dict[str, float]:
    """The metrics of a model: those of its training on validation images, and those of its evaluation on test images.

    Args:
        card: the values of its card.
        evaluation: the folder of the evaluation, None if there is none.
    """
    found = {name: float(value) for name, value in (card.get("metrics") or {}).items() if _is_number(value)}
    metrics = None if evaluation is None else _values(Path(evaluation) / METRICS_FILE)
    if metrics is None or metrics.get("split") != "test":
        return found
    low, high = metrics.get("accuracy_interval") or (None, None)
    tested = {
        "test_accuracy": metrics.get("accuracy"),
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_images": metrics.get("count"),
        "most_frequent": metrics.get("majority_share"),
    }
    return found | {name: float(value) for name, value in tested.items() if _is_number(value)}


def _is_of(metrics: Mapping[str, Any], card: Mapping[str, Any]) -> bool:
    """Whether an evaluation is of the model with this card: of the same classes and weights.

    Evaluations of older versions don't have the SHA-256 of the weights; the temperature has to be the same.
    """
    if weights := metrics.get("weights_sha256"):
        return metrics.get("labels") == card.get("labels") and bool(weights == card["weights_sha256"])
    ours, theirs = card.get("calibration") or {}, metrics.get("calibration") or {}
    same_temperature = ours.get("temperature") == theirs.get("temperature")
    return metrics.get("labels") == card.get("labels") and same_temperature


def _beside(folder: Path, name: str) -> str | None:
    file = folder.parent / name
    return str(file.parent) if file.is_file() else None


def _values(file: Path) -> dict[str, Any] | None:
    """The values of a JSON file that another command wrote; None if it is missing or damaged."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
