"""A journey of seconds, on tiny images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, Journey, TrainingConfig
from tests.journey.images import write_red_and_blue

MakeJourney = Callable[..., Journey]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_red_and_blue(tmp_path_factory.mktemp("journey") / "images")


@pytest.fixture
def journey(images: Path, tmp_path: Path) -> MakeJourney:
    """Makes journeys with an output folder and a store of this test."""

    def make(**settings: Any) -> Journey:
        training = TrainingConfig(data=settings.pop("data", images), architecture="resnet18", weights="none", epochs=2)
        values: dict[str, Any] = {
            "space": {"learning_rate": Categorical(0.005, 0.01)},
            "verify": False,
            "output": tmp_path / "out",
            "store": tmp_path / "store",
            **settings,
        }
        return Journey(training, **values)

    return make
