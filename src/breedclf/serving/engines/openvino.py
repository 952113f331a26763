"""The OpenVINO engine: converts a model once, caches the files, and runs it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from breedclf.errors import EndpointError
from breedclf.features.openvino import MODEL_FILE, compiled, made_elsewhere, need_openvino, openvino_core
from breedclf.files.cache_folder import cache_folder
from breedclf.files.model_folder import CARD_FILE, has_bank
from breedclf.files.sealed_folder import is_as_sealed, seal
from breedclf.inference.classifier import ranked_prediction
from breedclf.inference.model_directory import read_artifact, read_bank, read_card
from breedclf.inference.prediction import Prediction
from breedclf.jobs.endpoints import EngineChoice
from breedclf.models.backbones.backbone import find_backbone
from breedclf.runtime.bf16 import this_processor
from breedclf.runtime.device import choose_precision
from breedclf.serving.core import Limits
from breedclf.serving.engines.engine import Engine
from breedclf.serving.parity import TOLERANCE, KnownLimits, Reference

log: logging.Logger = logging.getLogger(__name__)

ABOUT_FILE = "about.json"
BANK_MODEL_FILE = "distances.xml"
_FOLDER = "openvino"
_MAX_CACHED = 4
_LAYOUT = "with features"
"""A part of the cache key; files of models with a bank were written without it by earlier versions."""


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for this CPU.

    torch is only used for tensors, since its compute threads and OpenVINO's would slow each other down.
    """

    def __init__(self, model: Path, choice: EngineChoice, limits: Limits) -> None:
        files = files_for(model, choice)
        super().__init__(read_card(model), limits)
        has_bf16 = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        is_faster_in_bf16 = has_bf16 and this_processor().is_faster_in_bf16
        self.precision: str = choose_precision(choice.precision, is_faster_in_bf16=is_faster_in_bf16)
        self._compiled = compiled(files / MODEL_FILE, self.precision)
        # Apart from the network, so that distances are computed in float32 whatever its precision.
        self._distances_of = compiled(files / BANK_MODEL_FILE, "fp32") if self.card.feature_bank is not None else None
        self._about = json.loads((files / ABOUT_FILE).read_text(encoding="utf-8"))

    def predictions(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        images = np.stack([each.numpy() for each in inputs])
        found = self._compiled(images)
        distances = None if self._distances_of is None else self._distances_of(found[1])[0].tolist()
        return self._ranked(torch.from_numpy(found[0]), distances)

    def reference(self) -> Reference:
        predictions = self._ranked(torch.tensor(self._about["expected"]), self._about.get("distances"))
        return Reference(predictions, TOLERANCE[self.precision], KnownLimits.of(self.card))

    def _ranked(self, probabilities: torch.Tensor, distances: Sequence[float] | None) -> list[Prediction]:
        distances_or_none = [None] * len(probabilities) if distances is None else distances
        return [
            ranked_prediction(self.card, row, distance)
            for row, distance in zip(probabilities, distances_or_none, strict=True)
        ]


def files_for(model: Path, choice: EngineChoice) -> Path:
    """The folder with OpenVINO's files of this model, from the cache or newly created.

    Raises:
        MissingExtraError: OpenVINO isn't installed.
        ArtifactError: there is no model, or it was modified after it was written.
        DataError: the calibration images can't be used.
        ParityError: int8 loses more accuracy than allowed.
    """
    need_openvino(choice.precision)
    check_model(model)  # at each start, not only when the files are created
    root = cache_folder() / _FOLDER
    key = _key(model, choice)
    found = root / key
    if is_as_sealed(found, key):
        os.utime(found)
        return found
    if found.exists():
        log.warning("OpenVINO's files in %s are damaged or of another version; creating them again", found)
        shutil.rmtree(found, ignore_errors=True)
    fresh = root / f".new-{secrets.token_hex(6)}"
    fresh.mkdir(parents=True)
    try:
        _make(model, fresh, choice)
        seal(fresh, key)
        _evict_old(root, keep=_MAX_CACHED - 1)
        try:
            fresh.rename(found)
        except OSError as error:  # another process was faster
            if not is_as_sealed(found, key):
                raise EndpointError(f"OpenVINO's files can't be stored in {found}: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return found


def check_model(model: Path) -> None:
    """Check all files of a model directory.

    Raises:
        ArtifactError: one is missing or damaged.
    """
    card, _ = read_artifact(model)
    read_bank(model, card, find_backbone(card.architecture).features)


def _make(model: Path, target: Path, choice: EngineChoice) -> None:
    arguments = [str(model), str(target)]
    if choice.calibration is not None:
        arguments += [f"--calibration={choice.calibration}", f"--max-accuracy-drop={choice.max_accuracy_drop}"]
    made_elsewhere("breedclf.serving.engines.openvino_model", *arguments)


def _key(model: Path, choice: EngineChoice) -> str:
    """The cache key; calibration images are identified by name, size and modification time."""
    parts = [(model / CARD_FILE).read_text(encoding="utf-8"), *([_LAYOUT] if has_bank(model) else [])]
    parts += [importlib.metadata.version(name) for name in ("openvino", "torch")]
    if choice.calibration is not None:
        parts += [importlib.metadata.version("nncf"), str(choice.max_accuracy_drop)]
        for path in sorted(choice.calibration.rglob("*")):
            stat = path.stat()
            parts.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _evict_old(root: Path, *, keep: int) -> None:
    folders = sorted((path for path in root.iterdir() if path.name[0] != "."), key=lambda path: path.stat().st_mtime)
    for folder in folders[: max(0, len(folders) - keep)]:
        shutil.rmtree(folder, ignore_errors=True)
