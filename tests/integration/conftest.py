"""Small datasets that a small network can classify, one training run on them, and small disks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf import Trainer, TrainingConfig
from breedclf.training.fit import FitResult

QUICK = {"architecture": "shufflenet_v2_x0_5", "weights": "none", "chunk_size": 8}  # a third of resnet18's seconds
RESNET = {**QUICK, "architecture": "resnet18"}  # for tests that name its stages


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
    return Trainer(TrainingConfig(data=data, output=root / "out", epochs=5, **RESNET)).fit(), data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk in memory with the given options; skipped where that isn't allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("a disk can't be mounted here")
        mounted.append(place)
        return place

    yield mount
    for each in mounted:
        subprocess.run(["umount", "-l", str(each)], check=True)
