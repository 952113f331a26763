"""The model directory: the weights as safetensors, and a JSON file with everything needed to use them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import torch
from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator
from safetensors import safe_open
from safetensors.torch import load_file

from breedclf._version import __version__
from breedclf.config import Architecture, Settings, TrainingConfig
from breedclf.config.base import explain
from breedclf.config.saved import from_saved
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError, ConfigError
from breedclf.files.disk import writing
from breedclf.files.model_folder import BANK_FILE, CARD_FILE, README_FILE, WEIGHTS_FILE
from breedclf.files.s3_uri import only_in_s3
from breedclf.files.tensor_files import save_tensors
from breedclf.inference.calibration import Calibration
from breedclf.inference.conformal import ConformalQuantiles
from breedclf.inference.feature_bank import BankRecord, FeatureBank, LimitedBank
from breedclf.inference.readme.text import readme_text
from breedclf.inference.started_from import StartedFrom
from breedclf.models.backbones.backbone import Backbone, StateDict, find_backbone
from breedclf.models.backbones.record import BackboneRecord
from breedclf.models.state_dict import faults, misfits, with_counters
from breedclf.text.plain_json import plain_values

SCHEMA_VERSION = 1
_MAX_CARD_BYTES = 64 << 20
_MAX_HEADER_BYTES = 100_000_000  # the limit of safetensors
_REMEDY = "train again, or restore the directory from a copy"
BACKBONE_KEY = "backbone_fingerprint"
"""The key of the backbone's fingerprint in the metadata of the weights file."""
_DIVISION = ("valid_share", "test_share", "split_seed")
"""The training settings by which evaluation divides a dataset without split folders."""

_OPTIONAL = ("start_from", "backbone", "calibration", "conformal", "feature_bank")
"""The card's fields that are left out if they are None."""

_Name = Annotated[str, Field(min_length=1)]


class ModelCard(Settings):
    """The contents of `breedclf.json`.

    Output i of the network belongs to `labels[i]`, the name of the class folder, shown to people as `class_names[i]`.
    """

    schema_version: int = SCHEMA_VERSION
    architecture: Architecture
    labels: tuple[_Name, ...] = Field(min_length=1)
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    min_confidence: float | None = Field(default=None, gt=0, lt=1)
    breedclf_version: str = __version__
    torch_version: str = str(torch.__version__)
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    data_fingerprint: str = ""
    bundle_sha256: str | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    start_from: StartedFrom | None = None
    backbone: BackboneRecord | None = None
    calibration: Calibration | None = None
    conformal: ConformalQuantiles | None = None
    feature_bank: BankRecord | None = None

    @field_validator("metrics", mode="before")
    @classmethod
    def _without_absent_ones(cls, value: object) -> object:
        """Metrics that are NaN are written as null; leave them out."""
        return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _labels_are_unique(self) -> Self:
        if twice := [label for label, count in Counter(self.labels).items() if count > 1]:
            raise ValueError(f"labels contain {', '.join(map(repr, twice[:4]))} more than once")
        if len(self.labels) != len(self.class_names):
            raise ValueError(f"there are {len(self.labels)} labels, but {len(self.class_names)} class_names")
        return self

    @model_validator(mode="after")
    def _division_can_be_repeated(self) -> Self:
        TrainingConfig(data=Path(), **{name: self.training[name] for name in _DIVISION if name in self.training})
        return self

    @classmethod
    def parse(cls, text: str, source: Path) -> Self:
        """Read a card from JSON text; `source` names the file in messages.

        Raises:
            ArtifactError: it isn't a valid card of this or an older schema.
        """
        try:
            values = json.loads(text, parse_constant=_no_number)
        except RecursionError as error:
            raise ArtifactError(f"{source} is nested too deeply for a model card; {_REMEDY}") from error
        except ValueError as error:
            raise ArtifactError(f"{source} is not valid JSON: {error}; {_REMEDY}") from error
        version = values.get("schema_version") if isinstance(values, dict) else None
        if not isinstance(version, int) or isinstance(version, bool):
            raise ArtifactError(f"{source} was not written by breedclf: it has no schema_version")
        if version < 1:
            raise ArtifactError(f"{source} has schema_version {version}, which breedclf never writes; {_REMEDY}")
        if version > SCHEMA_VERSION:
            raise ArtifactError(
                f"{source} has schema_version {version}, but breedclf "
                f"{__version__} reads at most {SCHEMA_VERSION}; upgrade breedclf"
            )
        try:
            return from_saved(cls, values, source)
        except ValidationError as error:
            problem = explain(error, cls.model_fields)
            raise ArtifactError(f"{source} is not a valid model card: {problem}; {_REMEDY}") from error


def write_artifact(
    folder: Path,
    card: dict[str, Any],
    state: StateDict,
    beside: Mapping[str, str] | None = None,
    backbone_fingerprint: str | None = None,
    bank: LimitedBank | None = None,
) -> ModelCard:
    """Write a model directory atomically; it replaces an existing one.

    Args:
        folder: the model directory.
        card: the fields of the `ModelCard` without `weights_sha256`.
        state: the weights.
        beside: texts of files next to the directory, by file name; they are replaced together with it.
        backbone_fingerprint: that of the weights without the head, if it is known; it is written into their file.
        bank: features of training images, and their limit.

    Raises:
        DiskError: the disk refuses; the old files stay.
    """
    with writing(folder, "make room, then repeat the command; no file was replaced"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            fresh = staging / folder.name
            fresh.mkdir()
            metadata = None if backbone_fingerprint is None else {BACKBONE_KEY: backbone_fingerprint}
            save_tensors(state, fresh / WEIGHTS_FILE, metadata)
            known = None
            if bank is not None:
                bank.bank.save(fresh)
                known = bank.record(_sha256(fresh / BANK_FILE))
            written = ModelCard(**card, weights_sha256=_sha256(fresh / WEIGHTS_FILE), feature_bank=known)
            unused = {name for name in _OPTIONAL if getattr(written, name) is None}
            values = plain_values(written.model_dump(mode="json", exclude=unused))
            text = json.dumps(values, indent=2, ensure_ascii=False)
            (fresh / CARD_FILE).write_text(text + "\n", encoding="utf-8")
            (fresh / README_FILE).write_text(readme_text(written), encoding="utf-8")
            for name, text in (beside or {}).items():
                (staging / name).write_text(text, encoding="utf-8")
            _put_in_place(fresh, folder, staging / f"{folder.name}.old")
            for name in beside or {}:
                (staging / name).replace(folder.parent / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return written


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model directory, without its weights.

    Raises:
        ArtifactError: it isn't a model directory, or its card can't be read.
    """
    path = folder / CARD_FILE
    try:
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where the folder may not be entered
            raise ArtifactError(_why_no_model(folder))
        if (size := path.stat().st_size) > _MAX_CARD_BYTES:
            raise ArtifactError(f"{path} has {size:,} bytes, which is too large for a model card; {_REMEDY}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not valid UTF-8: {error}; {_REMEDY}") from error
    return ModelCard.parse(text, path)


def read_artifact(folder: Path) -> tuple[ModelCard, StateDict]:
    """Read and check a model directory.

    Raises:
        ArtifactError: it is missing, not written by breedclf, or newer than this version; its weights were changed, or
            don't fit its architecture.
    """
    card, state = read_unproven(folder)
    check_values(state, folder)
    return card, state


def read_unproven(folder: Path) -> tuple[ModelCard, StateDict]:
    """The same, but NaN or infinite weights aren't found; a tensor's values are read from the disk at their first use.

    Raises:
        ArtifactError: as `read_artifact`.
    """
    card = read_card(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise ArtifactError(f"{folder} has no weights: {WEIGHTS_FILE} is missing; {_REMEDY}")
    backbone = backbone_of(card, folder)
    expected = backbone.empty_network(len(card.labels)).state_dict()
    try:
        _check_file(card, expected, weights)
        state = load_file(weights)
    except ArtifactError:
        raise
    except Exception as error:  # given a damaged header, safetensors may raise anything
        raise ArtifactError(f"{weights} can't be read: {error}; {_REMEDY}") from error
    _check_fit(card, backbone, expected, state, weights)
    return card, with_counters(state, expected)


def read_bank(folder: Path, card: ModelCard, features: int) -> FeatureBank | None:
    """Read and check the feature bank of a model directory; None if the model has none.

    Args:
        folder: the model directory.
        card: its card.
        features: the width of the model's features.

    Raises:
        ArtifactError: the file is missing, damaged or of another model.
    """
    if card.feature_bank is None:
        return None
    path = folder / BANK_FILE
    if not path.is_file():
        raise ArtifactError(f"{folder} has no {BANK_FILE}, which {CARD_FILE} names; {_REMEDY}")
    if _sha256(path) != card.feature_bank.sha256:
        raise ArtifactError(f"{path} is damaged or was replaced: its sha256 isn't that in {CARD_FILE}; {_REMEDY}")
    return FeatureBank.load(folder, card.feature_bank, features)


def check_values(state: StateDict, folder: Path) -> None:
    """Check that a network can compute with these weights of a model directory.

    Raises:
        ArtifactError: there are NaN or infinite ones, or negative variances.
    """
    if problems := faults(state):
        raise ArtifactError(f"{folder / WEIGHTS_FILE} can't be used: it has {'; '.join(problems)}; {_REMEDY}")


def backbone_fingerprint_of(folder: Path, backbone: Backbone, state: StateDict) -> str:
    """The fingerprint of the weights of a model directory without the head, which is that of the pretrained weights if
    the head alone was trained. It is in the file unless another program or an older version wrote it.
    """
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        known = (file.metadata() or {}).get(BACKBONE_KEY, "")
    return known if re.fullmatch("[0-9a-f]{32}", known) else backbone.fingerprint(backbone.without_head(state))


def _check_file(card: ModelCard, expected: StateDict, weights: Path) -> None:
    most = _MAX_HEADER_BYTES + sum(8 * tensor.numel() for tensor in expected.values())
    if (size := weights.stat().st_size) > most:
        raise ArtifactError(f"{weights} has {size:,} bytes, more than a {card.architecture} can have; {_REMEDY}")
    found = _sha256(weights)
    if found != card.weights_sha256:
        raise ArtifactError(
            f"{weights} is damaged or was replaced: its sha256 starts with {found[:12]}, "
            f"but {CARD_FILE} says {card.weights_sha256[:12]}; train again or restore the file"
        )


def backbone_of(card: ModelCard, folder: Path) -> Backbone:
    """The backbone of a model directory.

    Raises:
        ArtifactError: its library isn't installed, or the version that is doesn't have the network.
    """
    try:
        return find_backbone(card.architecture)
    except ConfigError as error:  # timm isn't installed, or its version doesn't have the network
        raise ArtifactError(f"{folder} can't be used here: {error}{_trained_with(card)}") from error


def _trained_with(card: ModelCard) -> str:
    """What to install if the network's library isn't there or has another version than in training; else empty."""
    if card.backbone is None:
        return ""
    library, then = card.backbone.library, card.backbone.library_version
    now = version(library) if find_spec(library) is not None else "none"
    if now == then:
        return ""
    return f". It was trained with {library} {then}, and {now} is installed: pip install {library}=={then}"


def _check_fit(card: ModelCard, backbone: Backbone, expected: StateDict, state: StateDict, weights: Path) -> None:
    bias = state.get(f"{backbone.head}.bias")
    if bias is not None and bias.ndim == 1 and len(bias) != len(card.labels):
        raise ArtifactError(
            f"{weights} has {len(bias)} outputs, but {CARD_FILE} names {len(card.labels)} classes; {_REMEDY}"
        )
    if problems := misfits(state, expected):
        remedy = _trained_with(card) or f"; {_REMEDY}"
        raise ArtifactError(f"{weights} doesn't fit {card.architecture}: {'; '.join(problems)}{remedy}")


def _why_no_model(folder: Path) -> str:
    if not folder.exists() and (why := only_in_s3(folder)) is not None:
        return why
    if folder.is_file():
        return f"{folder} is a file, not a breedclf model; give the directory that holds {CARD_FILE} (OUTPUT/model)"
    what = f"it has no {CARD_FILE}" if folder.is_dir() else "it doesn't exist"
    return f"{folder} is not a breedclf model: {what} (training writes OUTPUT/model)"


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _put_in_place(fresh: Path, folder: Path, old: Path) -> None:
    """Move a finished directory to its place; if that fails, the old one is restored."""
    if os.path.lexists(folder):
        folder.replace(old)
    try:
        fresh.replace(folder)
    except OSError:
        if os.path.lexists(old):
            old.replace(folder)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
