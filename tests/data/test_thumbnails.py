"""Small JPEGs of images for reports: close to the image, without metadata, and without those that are unreadable."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf.data.split import ImageFiles
from breedclf.data.thumbnails import thumbnail, thumbnails
from breedclf.errors import ImageError


def photo(path: Path, size: tuple[int, int], **saving: object) -> Path:
    rough = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).save(path, **saving)
    return path


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
@pytest.mark.parametrize("size", [(2000, 1600), (300, 240), (50, 40)], ids=["large", "medium", "small"])
def test_a_thumbnail_looks_like_the_image(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    path = photo(tmp_path / name, size)
    with Image.open(path) as whole, Image.open(BytesIO(thumbnail(ImageFiles((path,)), 0, 100))) as small:
        assert small.size == ((50, 40) if size == (50, 40) else (100, 80))
        apart = np.abs(np.asarray(whole.resize(small.size), np.int16) - np.asarray(small, np.int16))
    assert apart.mean() < 4


def test_a_thumbnail_is_upright_and_has_no_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret"
    path = photo(tmp_path / "turned.jpg", (640, 480), exif=exif, icc_profile=b"profile" * 100)
    with Image.open(BytesIO(thumbnail(ImageFiles((path,)), 0, 80))) as small:
        assert small.size == (60, 80)
        assert not small.getexif()
        assert "icc_profile" not in small.info


def test_each_image_is_made_once_and_unreadable_ones_are_left_out_or_raised(tmp_path: Path) -> None:
    good, bad = photo(tmp_path / "good.jpg", (64, 64)), tmp_path / "bad.jpg"
    bad.write_bytes(good.read_bytes()[:200])
    images = ImageFiles((bad, good))
    assert thumbnails(images, [1, 0, 1], 32, skip_unreadable=True) == {1: thumbnail(images, 1, 32)}
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        thumbnails(images, [1, 0], 32)
