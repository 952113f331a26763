"""Checks of a job's network before it is submitted: torch is only loaded where it must be asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from breedclf import TrainingConfig
from breedclf.api.network_check import _is_known_to_exist, check_network
from breedclf.config.architectures import TORCHVISION_ARCHITECTURES
from breedclf.errors import WeightsError
from breedclf.models.backbones.published_weights import published_weights, usable_weights


def test_what_is_known_without_torch_is_what_torchvision_says() -> None:
    for architecture in TORCHVISION_ARCHITECTURES:
        has_usual = "IMAGENET1K_V1" in usable_weights(architecture)
        assert _is_known_to_exist(TrainingConfig(data="x", architecture=architecture)) == has_usual, architecture
        if has_usual:
            published = published_weights(architecture, "IMAGENET1K_V1")
            assert published is not None
            assert not published.license_binds


@pytest.mark.parametrize(
    "settings",
    [
        {"freeze": "last_stage"},
        {"freeze": "layer4"},
        {"weights": "IMAGENET1K_V2"},
        {"architecture": "vit_b_16", "weights": "IMAGENET1K_SWAG_LINEAR_V1"},
        {"architecture": "timm:convnext_tiny"},
        {"architecture": "vit_h_14"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_all_else_is_asked(settings: dict[str, Any]) -> None:
    assert not _is_known_to_exist(TrainingConfig(data="x", **settings))


def test_a_network_without_the_usual_weights_is_refused() -> None:
    with pytest.raises(WeightsError, match="there are no IMAGENET1K_V1 weights of vit_h_14; there are IMAGENET1K_SWAG"):
        check_network(TrainingConfig(data="x", architecture="vit_h_14"))


def test_the_check_of_a_usual_network_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch()
    code = (
        "import sys; from breedclf import TrainingConfig; from breedclf.api.network_check import check_network; "
        "config = TrainingConfig(data='x'); check_network(config); "
        f"check_network(config.replace(weights={str(tmp_path / 'weights.pth')!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
