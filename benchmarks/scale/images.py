"""Many small JPEGs, each with its own content, written by all cores."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10
SIZE = (96, 72)
_A_TASK = 500


def write_images(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """Write `counts` images of each split as SPLIT/CLASS/NUMBER.jpg; other values of `first` give other images."""
    tasks = []
    for split, count in counts.items():
        for number in range(CLASSES):
            (root / split / f"class-{number}").mkdir(parents=True, exist_ok=True)
        tasks += [(root / split, first + at, first + min(at + _A_TASK, count)) for at in range(0, count, _A_TASK)]
        first += count
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        list(pool.map(_write_some, tasks))
    return root


def write_image(split: Path, number: int) -> Path:
    """Write an image of smooth noise; the number decides its content and class."""
    random = np.random.default_rng(number)
    rough = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    path = split / f"class-{number % CLASSES}" / f"{number:07}.jpg"
    rough.resize(SIZE, Image.Resampling.BILINEAR).save(path, quality=85)
    return path


def _write_some(task: tuple[Path, int, int]) -> None:
    split, first, last = task
    for number in range(first, last):
        write_image(split, number)
