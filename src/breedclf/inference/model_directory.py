"""The model folder: plain weights as safetensors and one JSON file that says everything needed to use them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import torch
from pydantic import Field, FiniteFloat, field_validator, model_validator
from safetensors.torch import load_file

from breedclf._version import __version__
from breedclf.config import Architecture, Settings, TrainingConfig
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError, ConfigError
from breedclf.files.disk import writing
from breedclf.files.tensor_files import save_tensors
from breedclf.models.network import StateDict, empty_network
from breedclf.models.state_dict import faults, misfits, with_counters
from breedclf.text.printable import storable_document

SCHEMA_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "breedclf.json"
_MAX_CARD_BYTES = 64 << 20
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_REMEDY = "train again, or restore the folder from a copy"
_DIVISION = ("valid_share", "test_share", "split_seed")
"""The settings of a training that an evaluation goes by."""

_Name = Annotated[str, Field(min_length=1)]


class ModelCard(Settings):
    """What `breedclf.json` holds.

    Output i of the network is `labels[i]`, the class folder's name, shown to people as `class_names[i]`.
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

    @field_validator("metrics", mode="before")
    @classmethod
    def _without_absent_ones(cls, value: object) -> object:
        """A metric that is no number is written as null."""
        return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        if twice := [label for label, count in Counter(self.labels).items() if count > 1]:
            raise ValueError(f"labels name {', '.join(map(repr, twice[:4]))} more than once")
        if len(self.labels) != len(self.class_names):
            raise ValueError(f"there are {len(self.labels)} labels, but {len(self.class_names)} class_names")
        return self

    @model_validator(mode="after")
    def _division_can_be_repeated(self) -> Self:
        TrainingConfig(data=Path(), **{name: self.training[name] for name in _DIVISION if name in self.training})
        return self

    @classmethod
    def parse(cls, text: str, source: Path) -> Self:
        """Read the JSON.

        Raises:
            ArtifactError: it isn't a card of this or an older schema.
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
            raise ArtifactError(f"{source} has schema_version {version}, which no breedclf has written; {_REMEDY}")
        if version > SCHEMA_VERSION:
            raise ArtifactError(
                f"{source} has schema_version {version}, newer than the {SCHEMA_VERSION} that breedclf "
                f"{__version__} reads; upgrade breedclf"
            )
        try:
            return cls(**values)
        except ConfigError as error:
            raise ArtifactError(f"{source} is not a valid model card: {error}; {_REMEDY}") from error


def write_artifact(
    folder: Path, card: dict[str, Any], state: StateDict, beside: Mapping[str, str] | None = None
) -> ModelCard:
    """Write a model folder whole or not at all, in place of one that was there before.

    `beside` are the texts of files next to the folder, by name; they change together with it.

    Raises:
        DiskError: the disk refuses; what was there before stays.
    """
    with writing(folder, "make room, then repeat the command; nothing there was replaced"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            fresh = staging / folder.name
            fresh.mkdir()
            save_tensors(state, fresh / WEIGHTS_FILE)
            written = ModelCard(**card, weights_sha256=_sha256(fresh / WEIGHTS_FILE))
            text = json.dumps(storable_document(written.model_dump(mode="json")), indent=2, ensure_ascii=False)
            (fresh / CARD_FILE).write_text(text + "\n", encoding="utf-8")
            for name, text in (beside or {}).items():
                (staging / name).write_text(text, encoding="utf-8")
            _put_in_place(fresh, folder, staging / f"{folder.name}.old")
            for name in beside or {}:
                (staging / name).replace(folder.parent / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return written


def read_card(folder: Path) -> ModelCard:
    """Read a model folder's card alone.

    Raises:
        ArtifactError: there is no model folder here, or its card can't be read.
    """
    path = folder / CARD_FILE
    try:
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where the folder may not be entered
            raise ArtifactError(_why_no_model(folder))
        if (size := path.stat().st_size) > _MAX_CARD_BYTES:
            raise ArtifactError(f"{path} has {size:,} bytes, too many for a model card; {_REMEDY}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}; check the path and who may read it") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not valid UTF-8: {error}; {_REMEDY}") from error
    return ModelCard.parse(text, path)


def read_artifact(folder: Path) -> tuple[ModelCard, StateDict]:
    """Read and check a model folder.

    Raises:
        ArtifactError: it is missing, foreign, newer than this breedclf, its weights aren't those it was written
            with, or they aren't what its architecture computes with.
    """
    card = read_card(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise ArtifactError(f"{folder} has lost its weights: {WEIGHTS_FILE} is missing; {_REMEDY}")
    expected = empty_network(card.architecture, len(card.labels)).state_dict()
    try:
        _check_file(card, expected, weights)
        state = load_file(weights)
    except ArtifactError:
        raise
    except Exception as error:  # over a header that isn't its own, safetensors may raise anything
        raise ArtifactError(f"{weights} can't be read: {error}; {_REMEDY}") from error
    _check_state(card, expected, state, weights)
    return card, with_counters(state, expected)


def _check_file(card: ModelCard, expected: StateDict, weights: Path) -> None:
    most = _MAX_HEADER_BYTES + sum(8 * tensor.numel() for tensor in expected.values())
    if (size := weights.stat().st_size) > most:
        raise ArtifactError(f"{weights} has {size:,} bytes, more than any {card.architecture} takes; {_REMEDY}")
    found = _sha256(weights)
    if found != card.weights_sha256:
        raise ArtifactError(
            f"{weights} is damaged or was exchanged: its sha256 is {found[:12]}..., "
            f"{CARD_FILE} expects {card.weights_sha256[:12]}...; train again or restore the file"
        )


def _check_state(card: ModelCard, expected: StateDict, state: StateDict, weights: Path) -> None:
    bias = state.get("fc.bias")
    if bias is not None and bias.ndim == 1 and len(bias) != len(card.labels):
        raise ArtifactError(
            f"{weights} has {len(bias)} outputs, but {CARD_FILE} names {len(card.labels)} classes; {_REMEDY}"
        )
    if problems := misfits(state, expected):
        raise ArtifactError(f"{weights} doesn't fit {card.architecture}: {'; '.join(problems)}; {_REMEDY}")
    if problems := faults(state):
        raise ArtifactError(f"{weights} can't answer: it has {'; '.join(problems)}; {_REMEDY}")


def _why_no_model(folder: Path) -> str:
    if folder.is_file():
        return f"{folder} is a file, not a breedclf model; give the folder that holds {CARD_FILE} (OUTPUT/model)"
    what = f"it has no {CARD_FILE}" if folder.is_dir() else "there is no such folder"
    return f"{folder} is not a breedclf model: {what} (a training writes OUTPUT/model)"


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _put_in_place(fresh: Path, folder: Path, old: Path) -> None:
    """Put a finished folder in place of an older one, which comes back where that fails."""
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
