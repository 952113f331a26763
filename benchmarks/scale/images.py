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
_PROCESSES = min(32, os.cpu_count() or 1)


def write_images(root: Path, counts: dict[str, int], *, first: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """Write `counts` images of each split as SPLIT/CLASS/NUMBER.jpg; other values of `first` give other images."""
    tasks = []
    for split, count in counts.items():
        for number in range(CLASSES):
            (root / split / f"class-{number}").mkdir(parents=True, exist_ok=True)
        step = max(1, min(_A_TASK, count // _PROCESSES))
        tasks += [(root / split, first + at, first + min(at + step, count), size) for at in range(0, count, step)]
        first += count
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        list(pool.map(_write_some, tasks))
    return root


def write_image(split: Path, number: int, size: tuple[int, int] = SIZE) -> Path:
    """Write an image of smooth noise; the number decides its content and class."""
    random = np.random.default_rng(number)
    rough = Image.fromarray(random.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
    path = split / f"class-{number % CLASSES}" / f"{number:07}.jpg"
    rough.resize(size, Image.Resampling.BILINEAR).save(path, quality=85)
    return path


def _write_some(task: tuple[Path, int, int, tuple[int, int]]) -> None:
    split, first, last, size = task
    for number in range(first, last):
        write_image(split, number, size)
