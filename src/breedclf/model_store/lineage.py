"""Where a model comes from, read from its card and the files beside it; torch isn't needed for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breedclf.errors import ArtifactError
from breedclf.files.model_folder import BANK_FILE, CARD_FILE, WEIGHTS_FILE
from breedclf.model_store.records import Lineage

README_FILE = "README.md"


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


def lineage_of(card: Mapping[str, Any], **known: str | None) -> Lineage:
    """The lineage in a card; `known` are fields that only the caller knows, such as `tuning_job`."""
    training, before = card.get("training") or {}, card.get("start_from") or {}
    values: dict[str, Any] = {
        "data": training.get("data"),
        "data_fingerprint": card.get("data_fingerprint") or "",
        "config": training,
        "code": card.get("bundle_sha256"),
        "breedclf_version": card.get("breedclf_version", ""),
        "torch_version": card.get("torch_version", ""),
        "started_from": before.get("fingerprint"),
    }
    return Lineage(**values | known)
