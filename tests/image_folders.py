"""Image folders that training tests share where it doesn't matter what the images show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_noise(root: Path, *, train: int, valid: int, size_px: int = 40) -> Path:
    """Two classes of random images; `train` and `valid` count the images of each class."""
    draw = np.random.default_rng(0)
    for split, count in (("train", train), ("valid", valid)):
        for label in ("basset", "corgi"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 255, (size_px, size_px, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root
