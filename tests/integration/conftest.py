"""Small datasets that a small network can classify, and one training run on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf import Trainer, TrainingConfig
from breedclf.training.fit import FitResult

QUICK = {"architecture": "resnet18", "weights": "none", "chunk_size": 8}


def write_patterns(root: Path, *, counts: dict[str, int] | None = None, seed: int = 0) -> Path:
    """Two classes, horizontal and vertical stripes, in `root/SPLIT/CLASS/`."""
    draw = np.random.default_rng(seed)
    for split, count in (counts or {"train": 8, "valid": 4, "test": 4}).items():
        for label, axis in (("001.Lying", 0), ("002.Standing", 1)):
            folder = root / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                wave = np.sin(np.arange(96) / draw.uniform(2, 4) + draw.uniform(0, 6))[:, None] * np.ones((96, 96))
                grey = (wave if axis == 0 else wave.T) * 90 + 128 + draw.normal(0, 8, (96, 96))
                Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB").save(folder / f"{number}.png")
    return root


@pytest.fixture
def patterns(tmp_path: Path) -> Path:
    return write_patterns(tmp_path / "pictures")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[FitResult, Path]:
    """One short training run, and the folder of its images."""
    root = tmp_path_factory.mktemp("trained")
    data = write_patterns(root / "pictures")
    return Trainer(TrainingConfig(data=data, output=root / "out", epochs=5, **QUICK)).fit(), data
