"""Colors far from sRGB are converted as Pillow's ImageCms does it, near ones stay, and older models see no change."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from breedclf.data.decoded_cache import ImageCache
from breedclf.data.decoding import decode_image, plain_jpeg
from breedclf.data.device_decoding import DevicePreprocessing
from breedclf.data.formats.color import FAR_LEVELS, ProfileError, is_far
from breedclf.data.image_source import EncodedImages, ViewDataset
from breedclf.data.images import open_image, read_image, upright_rgb
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.features.extraction import FeatureExtractor
from breedclf.models.published import preprocessing_for
from tests.color_profiles import (
    ADOBE_RGB,
    D50,
    P3,
    PROPHOTO,
    SRGB,
    cmyk_profile,
    grey_profile,
    power,
    rgb_profile,
)

FAR = {
    "ProPhoto": rgb_profile(PROPHOTO, power(1.8), D50),
    "linear": rgb_profile(SRGB, power(1.0)),
    "gamma 1.8": rgb_profile(SRGB, power(1.8)),
    "Rec. 2020": rgb_profile(((0.708, 0.292), (0.17, 0.797), (0.131, 0.046))),
}
NEAR = {
    "sRGB": rgb_profile(SRGB),
    "gamma 2.2": rgb_profile(SRGB, power(2.2)),
    "Display P3": rgb_profile(P3),
    "Adobe RGB": rgb_profile(ADOBE_RGB, power(563 / 256)),
}


def colors(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    random = np.random.default_rng(1)
    small = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def by_pillow(data: bytes, profile: bytes) -> np.ndarray[Any, Any]:
    """What Pillow's own conversion makes of a file."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    image = Image.open(BytesIO(data))
    return np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"))


def pixels(data: bytes, color: Any = "srgb") -> np.ndarray[Any, Any]:
    """The same by both ways."""
    general = np.asarray(open_image(data, color=color))
    assert np.array_equal(decode_image(data, color=color).permute(1, 2, 0).numpy(), general)
    return general


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("name", FAR)
def test_colors_far_from_srgb_are_converted_as_pillow_does_it(name: str, form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(colors(), form, icc_profile=FAR[name], **options)
    assert np.array_equal(pixels(data), by_pillow(data, FAR[name]))
    assert np.array_equal(pixels(data, "as_stored"), np.asarray(Image.open(BytesIO(data)).convert("RGB")))
    assert read_image(data, color="srgb")[1].converted
    assert not read_image(data)[1].converted
    assert np.array_equal(np.asarray(upright_rgb(Image.open(BytesIO(data)), color="srgb")), pixels(data))


@pytest.mark.parametrize("name", NEAR)
def test_colors_near_srgb_stay_and_go_the_quick_way(name: str) -> None:
    data = encoded(colors(), "JPEG", icc_profile=NEAR[name])
    assert np.array_equal(pixels(data), pixels(data, "as_stored"))
    assert plain_jpeg(data, color="srgb") is not None
    assert not read_image(data, color="srgb")[1].converted


def test_far_is_a_number_of_grey_levels_on_a_chart() -> None:
    assert FAR_LEVELS == 10
    assert [name for name, profile in (FAR | NEAR).items() if is_far(profile)] == list(FAR)


def test_greys_and_inks_have_profiles_of_their_own() -> None:
    linear = grey_profile(power(1.0))
    data = encoded(colors("L"), "JPEG", icc_profile=linear)
    assert np.array_equal(pixels(data), by_pillow(data, linear))
    assert np.abs(pixels(data).astype(int) - pixels(data, "as_stored")).mean() > 30
    paper = cmyk_profile()
    for form in ("JPEG", "TIFF"):
        inks = encoded(colors("CMYK"), form, icc_profile=paper)
        assert np.array_equal(pixels(inks), by_pillow(inks, paper))
        assert np.array_equal(pixels(inks, "as_stored"), np.asarray(Image.open(BytesIO(inks)).convert("RGB")))


def test_transparent_and_palette_images_are_converted_before_white_is_put_behind_them() -> None:
    clear = colors("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    data = encoded(clear, "PNG", icc_profile=FAR["linear"])
    opaque = by_pillow(encoded(clear.convert("RGB"), "PNG"), FAR["linear"])
    alpha = np.asarray(clear.getchannel("A"))[..., None] / 255
    assert np.abs(pixels(data) - (opaque * alpha + 255 * (1 - alpha))).max() <= 1.5
    palette = encoded(colors().quantize(16), "PNG", icc_profile=FAR["linear"])
    as_rgb = encoded(Image.open(BytesIO(palette)).convert("RGB"), "PNG")
    assert np.array_equal(pixels(palette), by_pillow(as_rgb, FAR["linear"]))


def png_with(*chunks: tuple[bytes, bytes], image: Image.Image | None = None) -> bytes:
    whole = encoded(image or colors(), "PNG")
    extra = b"".join(
        struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
        for name, content in chunks
    )
    return whole[:33] + extra + whole[33:]


def gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">L", round(value * 100_000))


def chromaticity(primaries: Any, white: Any = (0.3127, 0.3290)) -> tuple[bytes, bytes]:
    numbers = [number for point in (white, *primaries) for number in point]
    return b"cHRM", struct.pack(">8L", *(round(number * 100_000) for number in numbers))


@pytest.mark.parametrize(
    ("chunks", "profile"),
    [
        ([gamma(1.0)], rgb_profile(SRGB, power(1.0))),
        ([gamma(1 / 1.8)], rgb_profile(SRGB, power(1.8))),
        ([gamma(1.0), chromaticity(SRGB)], rgb_profile(SRGB, power(1.0))),
        ([gamma(1 / 1.8), chromaticity(ADOBE_RGB)], rgb_profile(ADOBE_RGB, power(1.8))),
    ],
)
def test_pngs_gamma_and_chromaticities_are_those_of_a_profile(chunks: Any, profile: bytes) -> None:
    data = png_with(*chunks)
    assert np.abs(pixels(data).astype(int) - by_pillow(data, profile)).max() <= 2
    assert read_image(data, color="srgb")[1].converted
    assert np.array_equal(pixels(data, "as_stored"), np.asarray(colors()))


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [gamma(0.45455)],
        [gamma(0.45455), chromaticity(SRGB)],
        [(b"sRGB", b"\0"), gamma(1.0)],
        [gamma(0.0)],
        [(b"cHRM", bytes(32))],
    ],
)
def test_pngs_that_are_srgb_or_say_nonsense_stay(chunks: Any) -> None:
    data = png_with(*chunks)
    assert np.array_equal(pixels(data), np.asarray(colors()))
    assert not read_image(data, color="srgb")[1].converted


def test_a_profile_counts_before_gamma() -> None:
    profile = NEAR["sRGB"]
    data = png_with((b"iCCP", b"x\0\0" + zlib.compress(profile)), gamma(1.0))
    assert np.array_equal(pixels(data), np.asarray(colors()))


def test_greys_of_16_bits_are_converted_too() -> None:
    levels = np.linspace(0, 65_535, 64).round().astype(np.uint16)[None].repeat(4, axis=0)
    data = png_with(gamma(1.0), image=Image.fromarray(levels))
    middle = pixels(data)[0, 32, 0]
    assert abs(int(middle) - 188) <= 2, "half the light is level 188 of sRGB"
    assert pixels(data, "as_stored")[0, 32, 0] in (129, 130)


@pytest.mark.parametrize(
    ("profile", "image", "says"),
    [
        (b"no profile" * 50, colors(), "its ICC profile is broken"),
        (FAR["linear"][:200], colors(), "its ICC profile is broken"),
        (cmyk_profile(), colors(), "its ICC profile is for CMYK pixels, but they are RGB"),
        (FAR["linear"], colors("CMYK"), "its ICC profile is for RGB pixels, but they are CMYK"),
        (grey_profile(power(1.0)), colors(), "its ICC profile is for L pixels, but they are RGB"),
    ],
)
def test_a_profile_that_can_t_be_used_is_told_and_passed_over(profile: bytes, image: Image.Image, says: str) -> None:
    data = encoded(image, "JPEG", icc_profile=profile)
    assert np.array_equal(pixels(data), pixels(data, "as_stored"))
    ((kind, what),) = read_image(data, color="srgb")[1].flaws
    assert kind == "broken_profile"
    assert what.startswith(says)
    assert what.endswith("it is read as sRGB")
    with pytest.raises(ProfileError):
        is_far(b"no profile")


def test_an_image_that_was_not_converted_keeps_its_profile() -> None:
    """Whoever sends it on, as a client does to a server, sends its colors with it."""
    data = encoded(colors(), "TIFF", icc_profile=FAR["linear"])
    sent = encoded(open_image(data), "PNG")
    assert np.array_equal(pixels(sent), pixels(data))
    assert open_image(data, color="srgb").info == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    colors(size=(320, 280)).save(tmp_path / "far.jpg", icc_profile=FAR["linear"])
    return tmp_path


def test_a_new_training_converts_and_a_model_of_before_answers_as_before(folder: Path) -> None:
    assert preprocessing_for("resnet18", "none").color == "srgb"
    old = Preprocessing(**{key: value for key, value in Preprocessing().model_dump().items() if key != "color"})
    assert old.color == "as_stored"
    files = EncodedImages(ImageFiles([folder / "far.jpg"]))
    before, now = (
        ViewDataset(files, None, Preprocessing(color=color), 0, 0)[0].image for color in ("as_stored", "srgb")
    )
    assert before is not None
    assert now is not None
    assert torch.equal(before, Preprocessing().view(decode_image(folder / "far.jpg"), 0))
    assert torch.equal(now, Preprocessing().view(decode_image(folder / "far.jpg", color="srgb"), 0))
    assert (now.int() - before.int()).abs().float().mean() > 20


def test_neither_is_taken_for_the_other(folder: Path, tmp_path: Path) -> None:
    def key(preprocessing: Preprocessing) -> str:
        from breedclf.runtime.device import Compute

        compute = Compute(torch.device("cpu"), "fp32")
        return FeatureExtractor(torch.nn.Identity, preprocessing, compute, "w", 4).spec(0).key

    assert key(Preprocessing()) != key(Preprocessing(color="srgb"))
    kept = {}
    for color in ("as_stored", "srgb"):
        cache = ImageCache(tmp_path / "kept", preprocessing=Preprocessing(color=color))
        kept[color] = cache.prepared(ImageFiles([folder / "far.jpg"]), "f").load(0).image
    assert (kept["srgb"].int() - kept["as_stored"].int()).abs().float().mean() > 20
    assert DevicePreprocessing(**Preprocessing(color="srgb").model_dump()).color == "srgb"


@pytest.mark.parametrize("read", [open_image, lambda data, color: upright_rgb(Image.open(BytesIO(data)), color=color)])
def test_many_threads_convert_alike(read: Callable[..., Image.Image]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    data = encoded(colors(), "JPEG", icc_profile=FAR["ProPhoto"])
    expected = np.asarray(read(data, color="srgb"))
    with ThreadPoolExecutor(8) as pool:
        assert all(
            np.array_equal(np.asarray(each), expected)
            for each in pool.map(lambda _: read(data, color="srgb"), range(80))
        )
