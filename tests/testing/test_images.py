"""Synthetic datasets are reproducible and classes don't differ in color; the hostile files are as described."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from breedclf.data.image_folder import scan
from breedclf.data.images import open_image
from breedclf.errors import ConfigError, ImageError
from breedclf.testing.images import PATTERNS, draw_image, write_hostile_images, write_image_set


def test_the_set_has_the_layout_that_training_reads(tmp_path: Path) -> None:
    root = write_image_set(tmp_path / "set", classes=3, train=4, valid=2, test=1, size_px=64)
    folder = scan(root)
    assert folder.labels == ("001.Stripes", "002.Checkers", "003.Triangle")
    assert {name: len(split) for name, split in folder.splits.items()} == {"train": 12, "valid": 6, "test": 3}
    assert open_image(folder.split("test").images.paths[0]).size == (64, 64)


def test_the_same_seed_draws_the_same_images(tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> list[bytes]:
        root = write_image_set(tmp_path / name, classes=len(PATTERNS), train=2, valid=1, test=1, seed=seed)
        return [path.read_bytes() for path in sorted(root.rglob("*.jpg"))]

    first = contents("a", 1)
    assert first == contents("b", 1)
    assert not set(first) & set(contents("c", 2))
    assert len(set(first)) == len(first), "no image comes twice, not even in another split"


def test_color_statistics_say_nothing_about_the_class() -> None:
    """The 7 nearest images by mean, spread and histogram of color are as often of a class as any images are."""
    seen = {
        "mean": lambda pixels: pixels.mean((0, 1)),
        "mean and spread": lambda pixels: np.r_[pixels.mean((0, 1)), pixels.std((0, 1))],
        "histogram of gray": lambda pixels: np.histogram(pixels.mean(-1), 32, (0, 256))[0],
        "histogram of color": lambda pixels: np.histogramdd(pixels.reshape(-1, 3), 4, [(0, 256)] * 3)[0].ravel(),
    }
    names, each = list(PATTERNS)[:5], 60
    drawn = [
        np.asarray(draw_image(name, np.random.default_rng([7, number, image])), np.float32)
        for number, name in enumerate(names)
        for image in range(each)
    ]
    labels = np.repeat(np.arange(5), each)
    known = np.tile(np.arange(each) < each // 2, 5)
    for what, statistics in seen.items():
        values = np.array([statistics(pixels) for pixels in drawn], np.float64)
        values = (values - values.mean(0)) / (values.std(0) + 1e-9)
        distances = np.linalg.norm(values[~known, None] - values[None, known], axis=-1)
        near = labels[known][distances.argsort(1)[:, :7]]
        guesses = np.array([np.bincount(row, minlength=5).argmax() for row in near])
        assert (guesses == labels[~known]).mean() < 0.3, what


def test_two_hundred_images_are_drawn_in_a_moment(tmp_path: Path) -> None:
    start = time.process_time()
    write_image_set(tmp_path / "set", train=30, valid=5, test=5)
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize("classes", [1, 9])
def test_more_classes_than_patterns_are_refused(tmp_path: Path, classes: int) -> None:
    with pytest.raises(ConfigError, match=f"classes={classes}: a synthetic dataset has 2 to 8 classes"):
        write_image_set(tmp_path, classes=classes)


def test_images_that_are_there_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    write_image_set(tmp_path, train=1, valid=0, test=1)
    with pytest.raises(ConfigError, match="already contains train; choose an empty folder"):
        write_image_set(tmp_path, train=1, valid=1, test=0)
    assert not (tmp_path / "valid").exists()


def test_hostile_files_are_what_they_claim(tmp_path: Path) -> None:
    hostile = write_hostile_images(tmp_path / "hostile")
    assert len(hostile.broken) == 6
    for path in hostile.broken:
        with pytest.raises(ImageError, match=path.name):
            open_image(path)
    for path in hostile.odd:
        assert open_image(path).size == (96, 96), path.name


def test_drawing_needs_no_torch() -> None:
    code = "import sys, breedclf.testing.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
