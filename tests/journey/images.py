"""A tiny dataset that random features separate: red and blue noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = {"train": 8, "valid": 6, "test": 20}
COLORS = {"001.Red": (220, 40, 40), "002.Blue": (40, 60, 220)}


def write_red_and_blue(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for label, color in COLORS.items():
            home = folder / split / label
            home.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(color + random.integers(-30, 30, (48, 48, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(home / f"{number}.jpg")
    return folder
