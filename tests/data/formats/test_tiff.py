"""Grey TIFFs of every depth, either white, either byte order, come out as bright as they are."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from breedclf.data.images import open_image, read_image, upright_rgb
from breedclf.errors import ImageError
from tests.tiff_files import (
    BITS,
    COMPRESSION,
    COUNTS,
    EXTRA_SAMPLES,
    HEIGHT,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    ROWS,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIPS,
    WIDTH,
    file_of,
    tiff,
)

RAMP = np.linspace(0, 1, 17)[None].repeat(5, axis=0)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2


def grey(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(open_image(data))[..., 0].astype(int)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16])
def test_greys_of_every_depth_run_from_black_to_white(bits: int, white_is_zero: bool, order: str) -> None:
    white = (1 << bits) - 1
    samples = np.round(RAMP * white).astype(np.uint32)
    wanted = samples * 255 / white
    stored = white - samples if white_is_zero else samples
    data = tiff(stored, bits, WHITE_IS_ZERO if white_is_zero else BLACK_IS_ZERO, order=order)
    assert np.abs(grey(data) - wanted).max() <= 0.51
    assert grey(data).shape == RAMP.shape


def test_an_image_that_pillow_has_opened_comes_out_alike() -> None:
    for data in (
        tiff(np.round(RAMP * 4095).astype(int), 12, BLACK_IS_ZERO),
        tiff(65_535 - np.round(RAMP * 65_535).astype(int), 16, WHITE_IS_ZERO),
        tiff(np.round(RAMP * 65_535).astype(int), 16, BLACK_IS_ZERO, order=">"),
    ):
        opened = np.asarray(upright_rgb(Image.open(BytesIO(data))))[..., 0]
        assert np.abs(opened - RAMP * 255).max() <= 0.51
        assert np.array_equal(opened, grey(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_turns_every_depth_alike(value: int, bits: int, order: str) -> None:
    corner = np.zeros((4, 6), int)
    corner[0, 0] = (1 << bits) - 1
    found = grey(tiff(corner, bits, BLACK_IS_ZERO, order=order, tags={ORIENTATION: [value]}))
    assert found.shape == ((4, 6) if value <= 4 else (6, 4))
    at = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[value]
    assert (found[at], found.sum()) == (255, 255)
    facts = read_image(tiff(corner, bits, BLACK_IS_ZERO, order=order, tags={ORIENTATION: [value]}))[1]
    assert facts.orientation == value


@pytest.mark.parametrize("order", ["<", ">"])
def test_colors_of_16_bits_and_in_planes(order: str) -> None:
    colors = np.random.default_rng(0).integers(0, 65_536, (6, 7, 3))
    deep = np.asarray(open_image(tiff(colors, 16, RGB, order=order)))
    assert np.array_equal(deep, colors >> 8)
    planes = (colors >> 8).astype(np.uint8).transpose(2, 0, 1).tobytes()
    tags = {WIDTH: [7], HEIGHT: [6], BITS: [8, 8, 8], COMPRESSION: [1], PHOTOMETRIC: [RGB], SAMPLES: [3], ROWS: [6]}
    apart = file_of(planes, {**tags, STRIPS: [8, 50, 92], COUNTS: [42] * 3, PLANAR: [2]}, order)
    assert np.array_equal(np.asarray(open_image(apart)), colors >> 8)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_greys_of_16_bits(compression: str) -> None:
    file = BytesIO()
    Image.fromarray(np.round(RAMP * 65_535).astype(np.uint16)).save(file, "TIFF", compression=compression)
    assert np.abs(grey(file.getvalue()) - RAMP * 255).max() <= 0.51


@pytest.mark.parametrize(("bits", "tags", "kind"), [(32, {}, "32-bit integer"), (24, {}, "24-bit integer")])
@pytest.mark.parametrize("order", ["<", ">"])
def test_depths_without_an_agreed_white_are_refused(
    bits: int, tags: dict[int, list[int]], kind: str, order: str
) -> None:
    data = tiff(np.ones((4, 4), int), bits, BLACK_IS_ZERO, order=order, tags=tags)
    with pytest.raises(ImageError, match=f"{kind} pixels have no defined white level; save it as 8 or 16 bits"):
        open_image(data)


@pytest.mark.parametrize("order", ["<", ">"])
def test_other_layouts_are_refused_with_what_they_are_and_what_to_do(order: str) -> None:
    floats = tiff(RAMP.astype(np.float32), 32, BLACK_IS_ZERO, order=order, tags={SAMPLE_FORMAT: [3]})
    with pytest.raises(ImageError, match="32-bit floating-point pixels have no defined white level"):
        open_image(floats)
    signed = tiff(np.full((4, 4), -5), 16, BLACK_IS_ZERO, order=order, tags={SAMPLE_FORMAT: [2]})
    with pytest.raises(ImageError, match="16-bit integer pixels have no defined white level"):
        open_image(signed)
    twelve = tiff(np.zeros((4, 4, 3), int), 12, RGB, order=order)
    with pytest.raises(ImageError, match=r"PhotometricInterpretation 2, SamplesPerPixel 3.* save it as PNG"):
        open_image(twelve)


def test_a_fourth_channel_of_zeros_is_padding_unless_it_is_said_to_be_alpha() -> None:
    clear = np.zeros((4, 4, 4), int)
    clear[..., 0] = 200
    assert open_image(tiff(clear, 8, RGB)).getpixel((0, 0)) == (200, 0, 0)
    assert open_image(tiff(clear, 8, RGB, tags={EXTRA_SAMPLES: [2]})).getpixel((0, 0)) == (255, 255, 255)


def test_lab_is_shown_as_the_color_it_is() -> None:
    file = BytesIO()
    Image.merge("LAB", [Image.new("L", (4, 4), level) for level in (136, 208, 195)]).save(file, "TIFF")
    red, green, blue = open_image(file.getvalue()).getpixel((1, 1))  # type: ignore[misc]
    assert red > 230
    assert green < 60
    assert blue < 60
