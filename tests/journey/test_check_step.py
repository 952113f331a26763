"""The first step of a journey stops at what would stop a later one."""

from __future__ import annotations

from typing import Any

import pytest

from breedclf import Categorical
from breedclf.errors import BreedclfError, ConfigError, WeightsError
from tests.journey.conftest import MakeJourney


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        pytest.param(
            {"weights": {"resnet18": "gone.pth"}}, WeightsError, "weights='gone.pth' is neither", id="of training"
        ),
        pytest.param(
            {"candidates": ("resnet18", "resnet34"), "weights": {"resnet34": "gone.pth"}},
            WeightsError,
            "weights='gone.pth' is neither",
            id="of a candidate",
        ),
        pytest.param(
            {"space": {"architecture": Categorical("resnet18", "resnet34")}, "weights": {"resnet34": "gone.pth"}},
            WeightsError,
            "weights='gone.pth' is neither",
            id="of a network that is searched",
        ),
        pytest.param(
            {"candidates": ("timm:convnxt_tiny",)}, ConfigError, "the nearest names are", id="no such network"
        ),
    ],
)
def test_a_network_without_its_weights_stops_it_before_anything_runs(
    journey: MakeJourney, settings: dict[str, Any], error: type[BreedclfError], said: str
) -> None:
    new = journey(**settings)
    with pytest.raises(error, match=said):
        new.run()
    assert next(step.name for step in new.plan().steps if step.runs) == "check"
