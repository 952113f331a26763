"""Images with labels from anywhere: what a source gives, how it is identified, and how it is decoded."""

from __future__ import annotations

import hashlib
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data.device_decoding import DeviceChunks, DevicePreprocessing
from breedclf.data.digests import digest_of
from breedclf.data.image_source import EncodedImages
from breedclf.data.images import ImageLike
from breedclf.data.labeled_images import LabeledImages, split_of
from breedclf.data.split import ImageFiles
from breedclf.errors import ImageError
from breedclf.features.digests import digests_of

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


class Source:
    """A source of the images that it is given."""

    labels = ("ant", "bee")

    def __init__(self, *images: ImageLike) -> None:
        self.images = images
        self.targets = [number % 2 for number in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> ImageLike:
        return self.images[index]


@pytest.fixture
def png(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "0.png")
    return tmp_path / "0.png"


def test_a_path_bytes_an_array_and_a_pil_image_decode_to_the_same_pixels(png: Path) -> None:
    source = Source(png, str(png), png.read_bytes(), bytearray(png.read_bytes()), PIXELS, Image.open(png))
    assert isinstance(source, LabeledImages)
    split = split_of("train", source)
    expected = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for index in range(len(split)):
        assert torch.equal(EncodedImages(split.images).load(index).image, expected)
    own = DevicePreprocessing(resize_px=36, crop_px=32)
    on_device = DeviceChunks(split.images, range(len(split)), own, torch.device("cpu"), 6, 2)
    (chunk,) = on_device
    assert not chunk.bad
    assert all(torch.equal(chunk.images[0], image) for image in chunk.images)
    assert split.targets == (0, 1, 0, 1, 0, 1)
    assert len(pickle.loads(pickle.dumps(split.chosen([0, 2])))) == 2


def test_the_fingerprint_of_files_is_a_hash_of_their_hashes(tmp_path: Path) -> None:
    def hashed(data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=16).digest()

    paths = [tmp_path / name for name in ("b", "a", "gone")]
    for path in paths[:2]:
        path.write_bytes(path.name.encode())
    expected = hashed(hashed(b"b") + hashed(b"a") + b"unreadable gone").hex()
    assert digests_of(ImageFiles(paths)).fingerprint == expected
    assert digests_of(split_of("train", Source(paths[0], b"a", paths[2])).images).fingerprint == expected


def test_a_digest_tells_images_apart_by_all_that_is_decoded() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = BytesIO()
    Image.fromarray(PIXELS).save(turned, "PNG", exif=exif)
    images = [
        PIXELS,
        PIXELS.transpose(1, 0, 2),
        PIXELS.reshape(60, 40, 3),
        PIXELS[:, :, 0],
        PIXELS.tobytes(),
        Image.fromarray(PIXELS),
        Image.fromarray(PIXELS).convert("L"),
        Image.fromarray(PIXELS).quantize(8),
        Image.open(turned),
    ]
    digests = [digest_of(image) for image in images]
    assert len(set(digests)) == len(images)
    assert digests == [digest_of(image) for image in images]
    assert digest_of(np.asfortranarray(PIXELS)) == digests[0]


def test_a_source_that_fails_names_the_image() -> None:
    class Broken(Source):
        def read(self, index: int) -> ImageLike:
            raise KeyError(f"no row {index}")

    split = split_of("train", Broken(b"", b""))
    with pytest.raises(ImageError, match=r"image 1 can't be read from Broken: 'no row 1'"):
        EncodedImages(split.images).load(1)
    assert split.images.file_or_digest(1) == b"unreadable image 1"
    with pytest.raises(ImageError, match=r"image 0 must be a path, bytes, a PIL image or a uint8 array, not int"):
        EncodedImages(split_of("train", Source(3)).images).load(0)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"image 0: an array must be uint8 .* not float32"):
        EncodedImages(split_of("train", Source(PIXELS.astype(np.float32))).images).load(0)  # type: ignore[arg-type]


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (OwnError("no row"), "image 1 can't be read from Failing: no row"),
        (IndexError("out of range"), "image 1 can't be read from Failing: out of range"),
        (OSError(5, "Input/output error"), "image 1 can't be read from Failing: [Errno 5] Input/output error"),
        (OwnError(), "image 1 can't be read from Failing: OwnError"),
        (None, "image 1 must be a path, bytes, a PIL image or a uint8 array, not NoneType"),
        (torch.zeros(3, 4, 4), "image 1 must be a path, bytes, a PIL image or a uint8 array, not Tensor"),
        (PIXELS[:, :, :2], "image 1: an array must be uint8 [height, width] or [height, width, 3 or 4], not uint8"),
        (b"text", "image 1 can't be decoded: it is none of JPEG"),
    ],
    ids=["own", "index", "system", "silent", "none", "tensor", "channels", "bytes"],
)
def test_whatever_a_source_gives_or_raises_is_an_unreadable_image(problem: object, message: str) -> None:
    class Failing(Source):
        def read(self, _index: int) -> ImageLike:
            if isinstance(problem, Exception):
                raise problem
            return problem  # type: ignore[return-value]

    split = split_of("train", Failing(b"", b""))
    with pytest.raises(ImageError) as caught:
        EncodedImages(split.images).load(1)
    assert message in str(caught.value)
    assert len(digests_of(split.images).fingerprint) == 32


def test_a_source_may_name_its_images() -> None:
    class Files(Source):
        def name_of(self, index: int) -> str:
            return f"/photos/{index}.jpg"

    with pytest.raises(ImageError, match=r"^/photos/0.jpg can't be decoded: it is none of JPEG"):
        EncodedImages(split_of("train", Files(b"text")).images).load(0)
