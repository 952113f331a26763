"""Plain JPEGs are decoded the quick way: the same pixels and the same verdicts as by the general one, crop included."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data import decoding
from breedclf.data.decoding import as_image, as_tensor, decode_image
from breedclf.data.images import open_image, read_image
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ImageError, ImageTooLargeError
from breedclf.testing.images import PATTERNS, draw_image, write_hostile_images

SIZES = [(500, 400), (333, 251), (17, 23), (64, 1000), (1000, 64), (9, 8), (1600, 1203)]
INTERPOLATIONS = ("bilinear", "bicubic")
WORST_LEVELS, MEAN_LEVELS = 1, 0.05


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colors with a pattern, as detailed as a photo."""
    random = np.random.default_rng(seed)
    colours = Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    pattern = draw_image(list(PATTERNS)[seed % len(PATTERNS)], random, size_px=256)
    large = colours.resize((width, height), Image.Resampling.BICUBIC)
    return Image.blend(large, pattern.resize((width, height), Image.Resampling.BICUBIC), 0.4)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def turned(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def pillow_crop(image: Image.Image, to: Preprocessing) -> Image.Image:
    """The central crop as Pillow does it, written down once more: what the quick way is held to."""
    short = min(image.size)
    width, height = (int(to.resize_px * side / short) for side in image.size)
    resized = image.resize((width, height), Image.Resampling[to.interpolation.upper()])
    left, top = round((width - to.crop_px) / 2), round((height - to.crop_px) / 2)
    return resized.crop((left, top, left + to.crop_px, top + to.crop_px))


def difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.int() - other.int()).abs()


def files() -> Iterator[tuple[str, bytes]]:
    for number, (width, height) in enumerate(SIZES):
        yield f"{width}x{height}", jpeg(photo(width, height, number), quality=90)
    image = photo(310, 213)
    yield "progressive", jpeg(image, progressive=True, quality=85)
    yield "grey", jpeg(image.convert("L"))
    yield "grey progressive", jpeg(image.convert("L"), progressive=True)
    yield "poor", jpeg(image, quality=15)
    yield "restarts", jpeg(image, restart_marker_rows=1)
    yield "optimized", jpeg(image, optimize=True)
    yield "commented", jpeg(image, comment=b"x" * 60_000)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        yield subsampling, jpeg(image, subsampling=subsampling)
    yield "rgb kept", jpeg(image, keep_rgb=True)
    yield "profile", jpeg(image, icc_profile=b"no profile" * 9_000)
    for value in range(10):
        yield f"exif {value}", jpeg(image, exif=turned(value))
    yield "damaged exif", jpeg(image, exif=b"Exif\0\0II*\0" + b"\xff" * 40)
    yield "thumbnail", jpeg(image, exif=turned(6) + jpeg(image.resize((60, 40))))


def others() -> Iterator[tuple[str, bytes]]:
    image = photo(310, 213)
    yield "cmyk", jpeg(image.convert("CMYK"))
    for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF"):
        file = BytesIO()
        image.save(file, kind)
        yield kind, file.getvalue()


@pytest.mark.parametrize(("name", "data"), [*files()])
def test_a_plain_jpeg_takes_the_quick_way_and_has_the_same_pixels(name: str, data: bytes) -> None:
    parsed = decoding.plain_jpeg(data, 1 << 30)
    assert parsed is not None, name
    assert decoding._decoded(parsed, None) is not None, name
    quick, general = decode_image(data), as_tensor(open_image(data))
    assert quick.dtype == torch.uint8
    assert torch.equal(quick, general)


@pytest.mark.parametrize(("name", "data"), [*others()])
def test_all_else_goes_the_general_way(name: str, data: bytes) -> None:
    assert decoding.plain_jpeg(data, 1 << 30) is None, name
    assert torch.equal(decode_image(data), as_tensor(open_image(data)))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("name", "data"), [*files(), *others()])
def test_the_crop_is_pillows_to_one_grey_level(name: str, data: bytes, interpolation: Any) -> None:
    to = Preprocessing(interpolation=interpolation)
    quick = to.view(decode_image(data), 0)
    assert quick.shape == (3, 224, 224)
    assert quick.is_contiguous()
    apart = difference(quick, as_tensor(pillow_crop(open_image(data), to)))
    assert apart.max() <= WORST_LEVELS, name
    assert apart.float().mean() <= MEAN_LEVELS


def photos(folder: Path) -> list[Path]:
    """All but the largest set, which is one for benchmarks."""
    return sorted(path for path in folder.rglob("*.jpg") if "cub100" not in path.parts)


def test_over_photos_the_crop_is_pillows_to_one_grey_level(shared_data: Path) -> None:
    to = Preprocessing()
    paths = photos(shared_data)[::3]
    assert len(paths) > 50
    for path in paths:
        quick = decode_image(path)
        general = open_image(path)
        assert torch.equal(quick, as_tensor(general)), path
        apart = difference(to.view(quick, 0), as_tensor(pillow_crop(general, to)))
        assert apart.max() <= WORST_LEVELS, path
        assert apart.float().mean() <= MEAN_LEVELS, path


def test_a_crop_larger_than_the_image_has_black_beside_it() -> None:
    to = Preprocessing(resize_px=100, crop_px=121)
    for image in (photo(130, 100), photo(90, 140), photo(300, 100)):
        apart = difference(to.view(image, 0), as_tensor(pillow_crop(image, to)))
        assert apart.max() <= WORST_LEVELS


def test_a_random_view_is_the_same_from_either_kind_of_image() -> None:
    data = jpeg(photo(310, 213))
    to = Preprocessing()
    one, other = (to.view(image, 3, seed=5, digest=b"7") for image in (decode_image(data), open_image(data)))
    assert torch.equal(one, other)
    assert torch.equal(as_tensor(as_image(one)), one)


def verdict(decode: Any, data: bytes) -> str:
    try:
        decode(data)
    except ImageError as error:
        return f"{type(error).__name__}: {error}"
    return "readable"


@pytest.mark.parametrize("progressive", [False, True])
def test_both_ways_refuse_the_same_files(progressive: bool) -> None:
    whole = jpeg(photo(310, 213), progressive=progressive, quality=80)
    random = np.random.default_rng(1)
    for cut in random.integers(2, len(whole), 60).tolist():
        for data in (whole[:cut], whole[:cut] + b"\xff\xd9", whole[: cut // 2] + whole[cut:]):
            assert verdict(decode_image, data) == verdict(open_image, data), cut
    for _ in range(150):
        damaged = bytearray(whole)
        for at in random.integers(2, len(whole), 3).tolist():
            damaged[at] = int(random.integers(0, 256))
        assert verdict(decode_image, bytes(damaged)) == verdict(open_image, bytes(damaged))


def test_hostile_files_are_refused_in_the_same_words(tmp_path: Path) -> None:
    hostile = write_hostile_images(tmp_path)
    for path in (*hostile.broken, *hostile.odd):
        assert verdict(decode_image, path.read_bytes()) == verdict(open_image, path.read_bytes()), path
    with pytest.raises(ImageError, match="half.jpg can't be decoded"):
        decode_image(tmp_path / "half.jpg")


def test_too_many_pixels_are_refused_unread() -> None:
    data = jpeg(photo(310, 213))
    with pytest.raises(ImageTooLargeError, match="310 x 213 is more than 66,000 pixels"):
        decode_image(data, max_pixels=66_000)
    assert read_image(data, max_pixels=66_030)[0].size == (310, 213)
    assert decode_image(data, max_pixels=66_030).shape == (3, 213, 310)


def test_without_torchvisions_decoder_the_images_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(photo(310, 213), exif=turned(6))
    expected = decode_image(data)
    monkeypatch.setattr(decoding, "_decoder", lambda: None)
    parsed = decoding.plain_jpeg(data, 1 << 30)
    assert parsed is not None
    assert decoding._decoded(parsed, None) is None
    assert torch.equal(decode_image(data), expected)


SCALED_WORST_LEVELS, SCALED_MEAN_LEVELS = 16, 1.0
"""How far a crop from an image that was decoded smaller may be off, anywhere and on average."""


@pytest.mark.parametrize("size", [(2000, 1500), (1024, 600), (700, 3000)])
@pytest.mark.parametrize("view", [0, 1])
def test_a_large_image_decoded_smaller_stays_within_the_stated_bound(size: tuple[int, int], view: int) -> None:
    file = jpeg(photo(*size, 3), quality=90)
    exact, scaled = Preprocessing(), Preprocessing(dct_scaling=True)
    enough_px = scaled.enough_px(view)
    assert enough_px is not None
    smaller = decode_image(file, enough_px=enough_px)
    assert min(smaller.shape[1:]) >= enough_px
    off = difference(scaled.view(smaller, view), exact.view(decode_image(file), view)).float()
    assert off.max() <= SCALED_WORST_LEVELS
    assert off.mean() <= SCALED_MEAN_LEVELS


def test_large_photos_decoded_smaller_stay_within_the_bound(shared_data: Path) -> None:
    exact, scaled = Preprocessing(), Preprocessing(dct_scaling=True)
    paths = photos(shared_data)[::25]
    assert len(paths) >= 5
    for path in paths:
        file = jpeg(open_image(path).resize((2000, 1500), Image.Resampling.BICUBIC), quality=90)
        smaller = decode_image(file, enough_px=scaled.enough_px(0))
        off = difference(scaled.view(smaller, 0), exact.view(decode_image(file), 0)).float()
        assert (off.max() <= SCALED_WORST_LEVELS, off.mean() <= SCALED_MEAN_LEVELS) == (True, True), path


def test_only_what_is_twice_too_large_is_decoded_smaller() -> None:
    shapes = {}
    for side in (511, 512, 1023, 1024, 2048, 5000):
        shapes[side] = min(decode_image(jpeg(photo(side, side)), enough_px=256).shape[1:])
    assert shapes == {511: 511, 512: 256, 1023: 512, 1024: 256, 2048: 256, 5000: 625}
    assert min(decode_image(jpeg(photo(2048, 2048))).shape[1:]) == 2048


def test_an_image_decoded_smaller_is_upright_and_a_damaged_one_is_still_refused() -> None:
    lying = jpeg(photo(2000, 1500), exif=turned(6))
    assert decode_image(lying, enough_px=256).shape == (3, 500, 375)
    cut = jpeg(photo(2000, 1500))[:20_000]
    with pytest.raises(ImageError):
        decode_image(cut, enough_px=256)


def test_the_setting_travels_with_the_model() -> None:
    assert Preprocessing().enough_px(0) is None
    again = Preprocessing.model_validate_json(Preprocessing(dct_scaling=True).model_dump_json())
    assert (again.enough_px(0), again.enough_px(1)) == (256, 379)
