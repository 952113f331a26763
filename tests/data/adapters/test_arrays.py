"""Images in memory as labeled images: stacks and lists of any kind, and what is refused at once."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data.adapters.arrays import from_arrays
from breedclf.errors import DataError, ImageError

GRAY = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)


@pytest.mark.parametrize(
    "images",
    [GRAY, GRAY[..., None], torch.from_numpy(GRAY), torch.from_numpy(GRAY)[:, None], list(GRAY)],
    ids=["N-H-W", "N-H-W-1", "tensor", "tensor-N-1-H-W", "list"],
)
def test_gray_images_are_read_alike_from_any_container(images: object) -> None:
    source = from_arrays(images, ["a", "b"])  # type: ignore[arg-type]
    assert len(source) == 2
    assert np.array_equal(source.read(1), GRAY[1])  # type: ignore[arg-type]


def test_a_tensor_of_color_images_is_read_with_its_channels_last() -> None:
    color = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    source = from_arrays(torch.from_numpy(color).permute(0, 3, 1, 2), [0, 1])  # type: ignore[arg-type]
    assert np.array_equal(source.read(0), color[0])  # type: ignore[arg-type]


def test_a_list_may_mix_files_bytes_and_pixels(tmp_path: Path) -> None:
    file = BytesIO()
    image = Image.new("RGB", (4, 3), "red")
    image.save(file, "PNG")
    given = [str(tmp_path / "a.png"), tmp_path / "b.png", file.getvalue(), bytearray(file.getvalue()), image]
    source = from_arrays(given, [0] * 5)  # type: ignore[arg-type]
    assert [type(source.read(index)).__name__ for index in range(5)] == ["str", "PosixPath", "bytes", "bytes", "Image"]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GRAY, [0], "there are 2 images and 1 labels: give one label per image"),
        (GRAY[:0], [], "there are no images: the list is empty"),
        ([], [], "there are no images: the list is empty"),
        (GRAY / 255, [0, 1], "pixels are float64 [2, 6, 8], not uint8: give the original images"),
        (torch.rand(2, 3, 6, 8), [0, 1], "pixels are float32 [2, 3, 6, 8], not uint8"),
        (GRAY.astype(np.uint16), [0, 1], "pixels are uint16 [2, 6, 8], not uint8: give 8 bits per channel"),
        (GRAY[0], [0], "an array of images has the shape [N, H, W] or [N, H, W, 3], not [6, 8]"),
        (np.zeros((2, 6, 8, 2), np.uint8), [0, 1], "uint8 [6, 8, 2]"),
        (np.array([GRAY[0], None], object), [0, 1], "images of different sizes don't fit into one array"),
        (iter(GRAY), [0, 1], "images must be an array or a list of images, not"),
        ("photos", [0], "images must be an array or a list of images, not str"),
    ],
    ids=[
        "labels",
        "no-rows",
        "empty",
        "float",
        "float-tensor",
        "uint16",
        "one-image",
        "channels",
        "object",
        "iterator",
        "text",
    ],
)
def test_what_is_no_list_of_images_is_refused_at_once(images: object, labels: list[int], message: str) -> None:
    with pytest.raises(DataError) as caught:
        from_arrays(images, labels)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.float32), "pixels are float32 [4, 4], not uint8: give the original images"),
        (torch.zeros(3, 4, 4), "pixels are float32 [3, 4, 4], not uint8"),
        (None, "an image must be a path, the bytes of a file, a PIL image or a uint8 array, not NoneType"),
        (np.zeros(4, np.uint8), "an array must be uint8 [height, width]"),
    ],
    ids=["float", "tensor", "none", "shape"],
)
def test_a_bad_image_of_a_list_is_found_when_it_is_read(image: object, message: str) -> None:
    source = from_arrays([GRAY[0], image], [0, 0])  # type: ignore[list-item]
    with pytest.raises(ImageError) as caught:
        source.read(1)
    assert message in str(caught.value)
