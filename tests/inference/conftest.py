"""A tiny model and its classifier, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf import Classifier
from tests.serving.conftest import draw, write_tiny_model


@pytest.fixture(scope="package")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """In fp32, in batches of 4 images."""
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    return Classifier(folder, device="cpu", precision="fp32", batch_size=4)


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten different JPEG files."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.jpg" for number in range(10)]
    for number, path in enumerate(paths):
        draw(number).save(path)
    return paths
