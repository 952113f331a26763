"""Random views: drawn from the seed, the view and the content, so other images and the way of loading don't matter."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data.decoded_cache import ImageCache
from breedclf.data.device_decoding import DevicePreprocessing
from breedclf.data.digests import DIGEST_BYTES
from breedclf.data.image_source import EncodedImages, ImageSource, LoadedChunks, ThreadedChunks, ViewDataset
from breedclf.data.labeled_images import SourceImages
from breedclf.data.preprocessing import MIRROR_VIEW, Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.features.digests import digests_of
from breedclf.runtime.device import LoaderSettings

PREPROCESSING = Preprocessing(resize_px=40, crop_px=32)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    draw = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.fromarray(draw.integers(0, 255, (40, 40 + number, 3), dtype=np.uint8)).save(path)
    return paths


def views(images: ImageSource, indices: Sequence[int] | None = None, view: int = 1, seed: int = 0) -> torch.Tensor:
    dataset = ViewDataset(images, indices, PREPROCESSING, view, seed)
    return torch.cat([chunk.images for chunk in ThreadedChunks(dataset, 2, 2)])


def test_added_images_leave_the_views_of_others_as_they_are(paths: list[Path]) -> None:
    before = views(EncodedImages(ImageFiles(paths[2:4])))
    after = views(EncodedImages(ImageFiles([*paths[:2], paths[3], paths[4], paths[2]])))
    assert torch.equal(after[[4, 2]], before)
    assert not torch.equal(views(EncodedImages(ImageFiles(paths[2:4])), view=2), before)
    assert not torch.equal(views(EncodedImages(ImageFiles(paths[2:4])), seed=1), before)


def test_equal_contents_have_equal_views_in_any_folder(paths: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "other name.png"
    copy.parent.mkdir()
    copy.write_bytes(paths[0].read_bytes())
    both = views(EncodedImages(ImageFiles([paths[0], copy])))
    assert torch.equal(both[0], both[1])


def test_every_way_of_loading_gives_the_same_views(paths: list[Path], tmp_path: Path) -> None:
    images = EncodedImages(ImageFiles(paths))
    once = views(images)
    for workers in (0, 1):
        settings = LoaderSettings(workers, pin_memory=False, prefetch=2 if workers else None)
        chunks = list(LoadedChunks(ViewDataset(images, None, PREPROCESSING, 1, 0), 4, settings))
        assert torch.equal(torch.cat([chunk.images for chunk in chunks]), once)
        assert torch.cat([chunk.digests for chunk in chunks]).shape == (len(paths), DIGEST_BYTES)
    prepared = ImageCache(tmp_path / "images", preprocessing=PREPROCESSING).prepared(ImageFiles(paths), "f")
    assert not isinstance(prepared, EncodedImages)
    assert torch.equal(views(prepared), once)  # their shorter side is `resize_px` already
    again = ImageCache(tmp_path / "images", preprocessing=PREPROCESSING).prepared(ImageFiles(paths), "f")
    assert torch.equal(views(again, [3, 0]), once[[3, 0]])


class Given:
    """Images of a program: the bytes of files, arrays or PIL images."""

    labels = ("a", "b")

    def __init__(self, images: Sequence[bytes | np.ndarray | Image.Image]) -> None:  # type: ignore[type-arg]
        self.images = images
        self.targets = [0] * len(images)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> bytes | np.ndarray | Image.Image:  # type: ignore[type-arg]
        return self.images[index]


def test_given_images_have_the_views_of_files_with_the_same_bytes(paths: list[Path]) -> None:
    once = views(EncodedImages(ImageFiles(paths)))
    given = SourceImages(Given([path.read_bytes() for path in paths]))
    assert torch.equal(views(EncodedImages(given), [4, 1]), once[[4, 1]])


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1", "I;16", "jpeg"])
def test_decoding_leaves_the_digest_of_a_given_image_as_it_is(mode: str) -> None:
    image: Image.Image = Image.effect_noise((20, 16), 60)
    if mode == "jpeg":  # opened, and not read yet
        file, exif = io.BytesIO(), Image.Exif()
        exif[274] = 6
        image.save(file, "jpeg", exif=exif)
        image = Image.open(file)
    else:
        image = image.convert(mode)
    images = SourceImages(Given([image, np.asarray(image)] if mode not in ("1", "I;16") else [image]))
    before = digests_of(images)
    decoded = EncodedImages(images)
    assert [decoded.load(index).digest for index in range(len(images))] == [each.tobytes() for each in before.values]
    assert digests_of(images).fingerprint == before.fingerprint


@pytest.mark.parametrize("kind", [Preprocessing, DevicePreprocessing])
def test_the_mirror_view_is_the_plain_crop_from_right_to_left(paths: list[Path], kind: type[Preprocessing]) -> None:
    preprocessing = kind(resize_px=40, crop_px=32, dct_scaling=True)
    assert preprocessing.enough_px(MIRROR_VIEW) == preprocessing.enough_px(0) == 40
    for path in paths:
        with Image.open(path) as image:
            plain = preprocessing.view(image, 0)
            mirrored = preprocessing.view(image, MIRROR_VIEW, seed=3, digest=b"any")
        assert torch.equal(mirrored, plain.flip(2))
        assert not torch.equal(mirrored, plain)


def test_crops_and_flips_are_spread_as_they_should_be() -> None:
    digests = [number.to_bytes(DIGEST_BYTES, "big") for number in range(4000)]
    drawn = [PREPROCESSING.box(100, 100, 1, 0, digest) for digest in digests]
    boxes = np.array([box for box, _ in drawn])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert np.mean([mirrored for _, mirrored in drawn]) == pytest.approx(0.5, abs=0.03)
    assert boxes.min() >= 0
    assert boxes.max() <= 100 + 1e-9
    area = width * height / 10_000
    inside = (width < 100) & (height < 100)  # those that no side cuts off
    assert area[inside].min() >= 0.35 - 1e-9
    assert area.mean() == pytest.approx(0.64, abs=0.03)
    aspect = width / height
    assert 0.75 - 1e-9 <= aspect[inside].min() < aspect[inside].max() <= 4 / 3 + 1e-9
    room = np.stack([100 - width, 100 - height], 1)
    place = boxes[:, :2][room.min(1) > 5] / room[room.min(1) > 5]
    np.testing.assert_allclose(
        np.quantile(place, [0.1, 0.5, 0.9], axis=0), [[0.1] * 2, [0.5] * 2, [0.9] * 2], atol=0.04
    )
