"""Images that a search is started with."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of two classes in each split."""
    root = tmp_path_factory.mktemp("images")
    for split in ("train", "valid"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for number in range(5):
                Image.new("RGB", (8, 8)).save(root / split / label / f"{number}.png")
    return root
