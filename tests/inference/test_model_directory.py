"""The model folder: whole, checked, and refused when it isn't what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError
from breedclf.files.model_folder import CARD_FILE, WEIGHTS_FILE
from breedclf.inference.model_directory import read_artifact, write_artifact
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.backbones.record import BackboneRecord

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


TIMM_RECORD = {"library": "timm", "library_version": "1.9.0", "weights": "pretrained", "license": "MIT", "source": "u"}


def test_a_model_of_a_timm_network_that_is_not_here_says_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(model, architecture="timm:resnet18z", backbone=TIMM_RECORD)
    timm = pytest.importorskip("timm")
    there = f"1.9.0, and {timm.__version__} is installed: pip install timm==1.9.0"
    with pytest.raises(
        ArtifactError, match=rf"can't be used here: .*timm {timm.__version__}, which .* has no such .*{there}"
    ):
        read_artifact(model)
    monkeypatch.setitem(sys.modules, "timm", None)
    missing = (
        r"timm, which is not installed: pip install 'breedclf\[timm\]'. .* and none is installed: pip install timm"
    )
    with pytest.raises(ArtifactError, match=missing):
        read_artifact(model)


def test_a_network_that_another_version_builds_differently_names_the_versions(model: Path) -> None:
    torchvision = {**TIMM_RECORD, "library": "torchvision", "library_version": "0.1"}
    edit(model, architecture="resnet34", backbone=torchvision)
    with pytest.raises(ArtifactError, match=r"doesn't fit resnet34: .*with torchvision 0\.1, .* install torchvision=="):
        read_artifact(model)


def test_the_backbone_is_recorded_if_it_is_known(tmp_path: Path, model: Path, state: StateDict) -> None:
    assert read_artifact(model)[0].backbone is None
    assert "backbone" not in json.loads((model / CARD_FILE).read_text())
    write_artifact(tmp_path / "other", {**CARD, "backbone": BackboneRecord(**TIMM_RECORD)}, state)
    assert read_artifact(tmp_path / "other")[0].backbone == BackboneRecord(**TIMM_RECORD)
