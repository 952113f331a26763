"""The model folder: whole, checked, and refused when it isn't what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError
from breedclf.files.model_folder import CARD_FILE, WEIGHTS_FILE
from breedclf.inference.model_directory import read_artifact, write_artifact
from breedclf.models.backbones.backbone import StateDict, find_backbone

CARD = {
    "architecture": "resnet18",
    "labels": ("001.Cat", "002.Dog"),
    "class_names": ("Cat", "Dog"),
    "preprocessing": Preprocessing(),
}


@pytest.fixture(scope="module")
def state() -> StateDict:
    return find_backbone("resnet18").new_network(seed=0, classes=2).state_dict()


@pytest.fixture
def model(tmp_path: Path, state: StateDict) -> Path:
    write_artifact(tmp_path / "model", CARD, state)
    return tmp_path / "model"


def edit(model: Path, **changes: object) -> None:
    card = json.loads((model / CARD_FILE).read_text())
    (model / CARD_FILE).write_text(json.dumps({**card, **changes}))


def test_what_is_written_is_read(model: Path, state: StateDict) -> None:
    card, read = read_artifact(model)
    assert card.class_names == ("Cat", "Dog")
    assert card.preprocessing == Preprocessing()
    assert all(torch.equal(read[name], value) for name, value in state.items())


def test_it_is_a_plain_state_dict_for_anyone(model: Path) -> None:
    from safetensors.torch import load_file
    from torchvision.models import resnet18

    resnet18(num_classes=2).load_state_dict(load_file(model / WEIGHTS_FILE))


def test_a_second_model_replaces_the_first_and_leaves_nothing_else(model: Path, state: StateDict) -> None:
    write_artifact(model, {**CARD, "class_names": ("Katze", "Hund")}, state)
    assert read_artifact(model)[0].class_names == ("Katze", "Hund")
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_one_flipped_bit_is_noticed(model: Path) -> None:
    content = bytearray((model / WEIGHTS_FILE).read_bytes())
    content[-1000] ^= 1
    (model / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged or was replaced: its sha256 starts with"):
        read_artifact(model)


def test_a_newer_schema_is_refused(model: Path) -> None:
    edit(model, schema_version=99)
    with pytest.raises(ArtifactError, match=r"schema_version 99, but .* at most 1; upgrade breedclf"):
        read_artifact(model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "was not written by breedclf"),
        ('{"name": "other"}', "was not written by breedclf"),
        ('{"schema_version": 1}', "is not a valid model card"),
    ],
)
def test_foreign_cards(model: Path, text: str, message: str) -> None:
    (model / CARD_FILE).write_text(text)
    with pytest.raises(ArtifactError, match=message):
        read_artifact(model)


def test_missing_parts(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not a breedclf model: it has no breedclf\.json"):
        read_artifact(tmp_path)
    (model / WEIGHTS_FILE).unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors is missing"):
        read_artifact(model)


def test_outputs_and_names_must_agree(model: Path) -> None:
    edit(model, labels=["a", "b", "c"], class_names=["a", "b", "c"])
    with pytest.raises(ArtifactError, match=r"has 2 outputs, but breedclf\.json names 3 classes"):
        read_artifact(model)
