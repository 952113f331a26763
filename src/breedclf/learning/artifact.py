"""The model folder: plain weights as safetensors and one JSON file that says everything needed to use them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from breedclf._version import __version__
from breedclf.config import Architecture, Settings
from breedclf.errors import ArtifactError, ConfigError
from breedclf.learning.model import StateDict
from breedclf.learning.preprocessing import Preprocessing
from breedclf.printable import storable_document

SCHEMA_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "breedclf.json"


class ModelCard(Settings):
    """What `breedclf.json` holds.

    Output i of the network is `labels[i]`, the class folder's name, shown to people as `class_names[i]`.
    """

    schema_version: int = SCHEMA_VERSION
    architecture: Architecture
    labels: tuple[str, ...]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    weights_sha256: str
    min_confidence: float | None = Field(default=None, gt=0, lt=1)
    breedclf_version: str = __version__
    torch_version: str = str(torch.__version__)
    metrics: dict[str, float] = Field(default_factory=dict)
    data_fingerprint: str = ""
    bundle_sha256: str | None = None
    training: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, source: Path) -> Self:
        """Read the JSON.

        Raises:
            ArtifactError: it isn't a card of this or an older schema.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{source} is not valid JSON: {error}") from error
        version = values.get("schema_version") if isinstance(values, dict) else None
        if not isinstance(version, int):
            raise ArtifactError(f"{source} was not written by breedclf: it has no schema_version")
        if version > SCHEMA_VERSION:
            raise ArtifactError(
                f"{source} has schema_version {version}, newer than the {SCHEMA_VERSION} that breedclf "
                f"{__version__} reads; upgrade breedclf"
            )
        try:
            return cls(**values)
        except ConfigError as error:
            raise ArtifactError(f"{source} is not a valid model card: {error}") from error


def write_artifact(folder: Path, card: dict[str, Any], state: StateDict) -> ModelCard:
    """Write a model folder whole or not at all; one that was there before is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        temporary.chmod(0o755)
        weights = temporary / WEIGHTS_FILE
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, weights)
        written = ModelCard(**card, weights_sha256=_sha256(weights))
        text = json.dumps(storable_document(written.model_dump(mode="json")), indent=2, ensure_ascii=False)
        (temporary / CARD_FILE).write_text(text + "\n", encoding="utf-8")
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return written


def read_card(folder: Path) -> ModelCard:
    """Read a model folder's card alone.

    Raises:
        ArtifactError: there is no model folder here, or its card can't be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise ArtifactError(f"{folder} is not a breedclf model: it has no {CARD_FILE} (a training writes OUTPUT/model)")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} can't be read: {error}") from error
    return ModelCard.parse(text, path)


def read_artifact(folder: Path) -> tuple[ModelCard, StateDict]:
    """Read and check a model folder.

    Raises:
        ArtifactError: it is missing, foreign, newer than this breedclf, or its weights aren't those it was written
            with.
    """
    card = read_card(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise ArtifactError(f"{folder} has lost its weights: {WEIGHTS_FILE} is missing")
    found = _sha256(weights)
    if found != card.weights_sha256:
        raise ArtifactError(
            f"{weights} is damaged or was exchanged: its sha256 is {found[:12]}..., "
            f"{CARD_FILE} expects {card.weights_sha256[:12]}...; train again or restore the file"
        )
    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{weights} can't be read: {error}") from error
    _check_outputs(card, state, weights)
    return card, state


def _check_outputs(card: ModelCard, state: StateDict, weights: Path) -> None:
    outputs: Sequence[int] = state["fc.bias"].shape if "fc.bias" in state else (0,)
    if outputs[0] != len(card.labels) or len(card.labels) != len(card.class_names):
        raise ArtifactError(f"{weights} has {outputs[0]} outputs, but {CARD_FILE} names {len(card.labels)} classes")


def _replace(temporary: Path, folder: Path) -> None:
    """Put a finished folder in place of an older one."""
    if not folder.exists():
        temporary.replace(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
    folder.replace(old / folder.name)
    temporary.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
