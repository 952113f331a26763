"""Prepared images: the same as those of the files, kept whole or not at all."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from breedclf.data.decoded_cache import ImageCache, PreparedImages
from breedclf.data.image_source import EncodedImages
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.errors import ImageError

SIZES = [(500, 375), (300, 700), (256, 256), (90, 120), (3000, 20)]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    drawn = []
    for number, size in enumerate(SIZES):
        path = tmp_path / f"{number}.jpg"
        Image.effect_noise(size, 60).convert("RGB").save(path, quality=90)
        drawn.append(path)
    return drawn


def cache_at(folder: Path, **settings: int) -> ImageCache:
    return ImageCache(folder / "images", **settings)


def prepare_in_a_process(folder: Path, paths: list[Path]) -> int:
    """Which file it was: one that is made again is another."""
    cache_at(folder).prepared(ImageFiles(paths), "f")
    return next((folder / "images").glob("*.pixels")).stat().st_ino


def test_the_plain_view_is_the_same_to_the_bit(tmp_path: Path, paths: list[Path]) -> None:
    prepared, preprocessing = cache_at(tmp_path).prepared(ImageFiles(paths), "f"), Preprocessing()
    assert isinstance(prepared, PreparedImages)
    assert prepared.readable.tolist() == [0, 1, 2, 3, 4]
    for index in range(len(paths)):
        from_file = preprocessing.view(EncodedImages(ImageFiles(paths)).load(index).image, 0)
        assert torch.equal(preprocessing.view(prepared.load(index).image, 0), from_file)


def test_a_second_time_nothing_is_decoded(tmp_path: Path, paths: list[Path]) -> None:
    first = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    kept = [path.unlink() for path in paths]
    again = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    assert isinstance(again, PreparedImages)
    assert all(torch.equal(again.load(at).image, first.load(at).image) for at in range(len(kept)))


def test_another_process_gets_the_same_images(tmp_path: Path, paths: list[Path]) -> None:
    prepared = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    prepared.load(0)
    copied = pickle.loads(pickle.dumps(prepared))
    assert torch.equal(copied.load(1).image, prepared.load(1).image)
    assert len(pickle.dumps(prepared)) < 2_000


def test_unreadable_ones_are_remembered_with_their_reason(tmp_path: Path, paths: list[Path]) -> None:
    paths[1].write_bytes(b"no image")
    cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    prepared = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    assert isinstance(prepared, PreparedImages)
    assert prepared.readable.tolist() == [0, 2, 3, 4]
    assert "1.jpg" in prepared.bad[1]
    with pytest.raises(ImageError, match="1.jpg"):
        prepared.load(1)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "shapes", "reasons", "no table", "deep"])
def test_a_damaged_file_is_made_again_with_a_message(
    tmp_path: Path, paths: list[Path], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths[4].write_bytes(b"no image")
    whole = cache_at(tmp_path).prepared(ImageFiles(paths), "f").load(0).image
    (path,) = (tmp_path / "images").glob("*.pixels")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[1000] ^= 0xFF
    if damage == "shapes":
        assert content.count(b"[256, 341]") == 1
        content = content.replace(b"[256, 341]", b"[341, 256]")
    if damage == "reasons":
        assert content.count(b'"4": ') == 1
        content = content.replace(b'"4": ', b'"3": ')
    ends = {"no table": b"[1]", "deep": b"[" * 100_000}
    others = {name: bytes(content) + end + len(end).to_bytes(8, "big") for name, end in ends.items()}
    path.write_bytes({"cut": content[:-3], "empty": b"", **others}.get(damage, content))
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        again = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    assert "computing them again" in caplog.text
    assert isinstance(again, PreparedImages)
    assert again.readable.tolist() == [0, 1, 2, 3]
    assert torch.equal(again.load(0).image, whole)


def test_those_of_other_images_in_their_place_are_not_taken(
    tmp_path: Path, paths: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache_at(tmp_path).prepared(ImageFiles(paths[:1]), "one")
    (one,) = (tmp_path / "images").glob("*.pixels")
    cache_at(tmp_path).prepared(ImageFiles(paths[1:2]), "other")
    (other,) = set((tmp_path / "images").glob("*.pixels")) - {one}
    other.write_bytes(one.read_bytes())
    found = cache_at(tmp_path).prepared(ImageFiles(paths[1:2]), "other")
    assert "computing them again" in caplog.text
    assert found.load(0).image.shape == (3, 597, 256)


def test_of_two_processes_one_prepares(tmp_path: Path, paths: list[Path]) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(prepare_in_a_process, [tmp_path] * 2, [paths] * 2))
    assert len(list((tmp_path / "images").glob("*.pixels"))) == 1
    assert list((tmp_path / "images").glob("*.part")) == []
    assert len(made) == 2
    assert len(set(made)) == 1


def test_on_a_full_disk_the_files_are_used(
    tmp_path: Path, paths: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        images = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    assert isinstance(images, EncodedImages)
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "images").glob("*.part")) == []


def test_what_the_pixels_depend_on_is_in_the_name(tmp_path: Path, paths: list[Path]) -> None:
    cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    cache_at(tmp_path).prepared(ImageFiles(paths), "changed")
    ImageCache(tmp_path / "images", preprocessing=Preprocessing(resize_px=128, crop_px=112)).prepared(
        ImageFiles(paths), "f"
    )
    assert len(cache_at(tmp_path).entries()) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="a file in use can't be deleted there")
def test_images_that_another_process_deletes_can_still_be_loaded(tmp_path: Path, paths: list[Path]) -> None:
    for _ in range(2):
        prepared = cache_at(tmp_path).prepared(ImageFiles(paths), "f")
    cache_at(tmp_path).clear()
    assert isinstance(prepared, PreparedImages)
    assert not prepared.path.exists()
    assert prepared.load(0).image.shape[0] == 3
