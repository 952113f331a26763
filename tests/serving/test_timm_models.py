"""What a model with a network of timm takes along, so that it can be served elsewhere."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from breedclf.backends.common.image_context import write_image_context
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.serving.model_code import write_code
from tests.serving.conftest import CLASSES

NAME = "timm:test_efficientnet"
PIN = f"timm=={version('timm')}"


@pytest.fixture
def timm_model(tmp_path: Path) -> Path:
    card = {
        "architecture": NAME,
        "labels": tuple(CLASSES),
        "class_names": CLASSES,
        "preprocessing": Preprocessing(resize_px=36, crop_px=32),
    }
    state = find_backbone(NAME).new_network(seed=0, classes=len(CLASSES)).state_dict()
    write_artifact(tmp_path / "timm", card, state)
    return tmp_path / "timm"


def test_its_code_and_its_image_require_timm_as_it_is_here(timm_model: Path, model: Path, tmp_path: Path) -> None:
    write_code(timm_model)
    assert PIN in (timm_model / "code" / "requirements.txt").read_text().splitlines()
    write_image_context(timm_model, tmp_path / "image")
    assert PIN in (tmp_path / "image" / "requirements.txt").read_text().splitlines()
    write_image_context(model, tmp_path / "other")
    assert "timm" not in (tmp_path / "other" / "requirements.txt").read_text()


def test_a_wheel_of_timm_is_missed_before_an_endpoint_without_a_network_starts(
    timm_model: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("filelock", "pillow", "platformdirs", "psutil", "pydantic", "safetensors", "tqdm"):
        (wheels / f"{name}-99.0-py3-none-any.whl").touch()
    with pytest.raises(ConfigError, match=f"has no wheel for {PIN}; `pip download"):
        write_code(timm_model, wheels=wheels)
