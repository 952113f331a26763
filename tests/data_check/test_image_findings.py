"""What is wrong with the content of files that can be read: findings of the dataset check, never silence."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from breedclf.data.any_image import given_image
from breedclf.data.images import as_path, open_image, read_file, read_image
from breedclf.data_check import DatasetCheck, check
from breedclf.data_check.text import MEANINGS, as_text
from breedclf.errors import ImageError
from breedclf.testing.images import draw_image
from tests.color_profiles import SRGB, power, rgb_profile
from tests.hostile_images import encoded, photo, write

DETAILED = draw_image("Sand", np.random.default_rng(0), size_px=160)
JPEG = encoded(DETAILED, "JPEG", quality=90)
PNG = encoded(DETAILED, "PNG")
LINEAR = rgb_profile(SRGB, power(1.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("a", "b"):
        for number in range(5):
            write(tmp_path / "set" / label / f"{number}.jpg")
    return tmp_path / "set"


def found(folder: Path, name: str, content: bytes) -> tuple[list[tuple[str, str]], DatasetCheck]:
    (folder / "a" / name).write_bytes(content)
    for _ in range(2):  # the second time it is known from before
        examination = check(folder)
        assert {problem.path for problem in examination.problems} <= {f"a/{name}"}
    assert examination.cached == 11
    return [(problem.kind, problem.detail) for problem in examination.problems], examination


def rgba_bmp(alpha: int) -> bytes:
    """A 32-bit BMP with a version 4 header, which declares an alpha channel."""
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., :3] = np.asarray(DETAILED.resize((40, 40)))[::-1, :, ::-1]
    pixels[..., 3] = alpha
    masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = (
        struct.pack("<LllHHLLllLL", 108, 40, 40, 1, 32, 3, pixels.size, 2835, 2835, 0, 0) + masks + b"BGRs" + bytes(48)
    )
    return b"BM" + struct.pack("<LHHL", 14 + 108 + pixels.size, 0, 0, 14 + 108) + head + pixels.tobytes()


def clear(mode: str = "RGBA") -> Image.Image:
    image = DETAILED.convert(mode)
    image.putalpha(0)
    return image


@pytest.mark.parametrize(
    ("name", "content", "kind", "says"),
    [
        ("no end.jpg", JPEG[:-2], "damaged", "its end marker is missing"),
        ("left over.jpg", JPEG[:-2] + JPEG[-900:], "damaged", "its data don't match its size"),
        ("no end.png", PNG[:-12], "damaged", "its end (IEND) is missing"),
        ("zeros.webp", encoded(DETAILED, "WEBP")[:-200] + bytes(200), "damaged", "its last 200 bytes are zeros"),
        ("clear.png", encoded(clear(), "PNG"), "blank", "it is fully transparent and becomes white"),
        ("clear.webp", encoded(clear(), "WEBP", lossless=True), "blank", "it is fully transparent"),
        ("clear grey.png", encoded(clear("L"), "PNG"), "blank", "it is fully transparent"),
        ("black.png", encoded(Image.new("RGB", (64, 64)), "PNG"), "blank", "every pixel of it is (0, 0, 0)"),
        ("one.jpg", encoded(Image.new("L", (64, 64), 90), "JPEG"), "blank", "every pixel of it is (90, 90, 90)"),
        ("odd.jpg", encoded(DETAILED, "JPEG", icc_profile=b"none" * 99), "broken_profile", "its ICC profile is broken"),
    ],
)
def test_what_is_wrong_but_readable_is_a_finding(folder: Path, name: str, content: bytes, kind: Any, says: str) -> None:
    ((seen, detail),), examination = found(folder, name, content)
    assert seen == kind
    assert detail.startswith(says)
    assert (examination.readable, examination.images) == (11, 11)
    assert open_image(content).mode == "RGB", "a training uses it"
    assert f"a/{name}: {says}" in as_text(examination)
    assert MEANINGS[kind].advice in as_text(examination)


@pytest.mark.parametrize(
    ("name", "content", "kind", "says"),
    [
        ("half and end.jpg", JPEG[: len(JPEG) // 2] + b"\xff\xd9", "truncated", "its data end before the last pixel"),
        ("half.jpg", JPEG[: len(JPEG) // 2], "truncated", "its data end before the last pixel"),
        ("zeros.png", PNG[:9000] + bytes(len(PNG) - 9000), "truncated", "its IDAT chunk at byte"),
        (
            "flipped.png",
            PNG[:3000] + b"\xff" + PNG[3001:],
            "truncated",
            "has a wrong checksum",
        ),
    ],
)
def test_what_training_refuses_is_a_finding_too(folder: Path, name: str, content: bytes, kind: str, says: str) -> None:
    ((seen, detail),), examination = found(folder, name, content)
    assert seen in (kind, "unreadable")
    assert says in detail
    assert examination.readable == 10
    with pytest.raises(ImageError):
        open_image(content)


def test_sound_images_of_every_kind_have_no_findings(folder: Path) -> None:
    """What is drawn here has detail up to its last pixel, or a last pixel of the grey that decoders fill in."""
    for number, options in enumerate(({"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}, {})):
        for mode in ("RGB", "L", "CMYK"):
            image = draw_image("Rings", np.random.default_rng(number), size_px=96 + 16 * number)
            (folder / "a" / f"{number}{mode}.jpg").write_bytes(encoded(image.convert(mode), "JPEG", **options))
    grey_end = draw_image("Dots", np.random.default_rng(9))
    grey_end.paste((128, 128, 128), (0, 64, 128, 128))
    grey_end.save(folder / "a/grey.jpg")
    for form in ("PNG", "WEBP", "GIF", "BMP", "TIFF"):
        draw_image("Sand", np.random.default_rng(20)).save(folder / f"a/sound.{form.lower()}", form)
    examination = check(folder)
    assert examination.problems == []
    assert (examination.readable, examination.converted) == (10 + 12 + 1 + 5, 0)


def test_colors_that_are_converted_are_counted(folder: Path) -> None:
    problems, examination = found(folder, "linear.jpg", encoded(DETAILED, "JPEG", icc_profile=LINEAR))
    assert problems == []
    assert examination.converted == 1
    assert "1 have colors far from sRGB; training converts them by their profile" in as_text(examination)


def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque(folder: Path) -> None:
    problems, _ = found(folder, "padded.bmp", rgba_bmp(0))
    assert problems == []
    shown = np.asarray(open_image(rgba_bmp(0)))
    assert np.array_equal(shown, np.asarray(DETAILED.resize((40, 40))))
    assert np.array_equal(np.asarray(open_image(rgba_bmp(255))), shown)
    half = np.asarray(open_image(rgba_bmp(128))).astype(int)
    assert np.abs(half - (shown.astype(int) + 255) / 2).max() <= 2
    facts = read_image(rgba_bmp(0))[1]
    assert (facts.mode, facts.flaws) == ("RGBA", ())


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/dog.jpg?size=large",
        "http://example.org/dog.jpg",
        "HTTPS://example.org/dog.jpg",
        "s3://bucket/dog.jpg",
        "gs://bucket/dog.jpg",
        "ftp://example.org/dog.jpg",
        "file:///home/dog.jpg",
    ],
)
def test_a_url_in_place_of_a_file_is_refused_whole_and_with_what_to_do(url: str) -> None:
    told = f"{url} can't be read: it is a URL, not a file; download it first, and give the file's path"
    for refuse in (as_path, given_image):
        with pytest.raises(ImageError) as caught:
            refuse(url)
        assert str(caught.value) == told
    with pytest.raises(ImageError) as caught:
        read_file(Path(url))  # a path has one slash where the URL had two
    assert str(caught.value) == told.replace("file:///", "file://")


def test_a_data_url_is_refused_without_its_megabytes() -> None:
    with pytest.raises(ImageError, match=r"^data:image/png;base64,AAA.*\.\.\. can't be read: it is a URL") as caught:
        as_path("data:image/png;base64," + "A" * 100_000)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["http.jpg", "s3:dog.jpg", "data/image.jpg", "c:/dog.jpg", "https", "a:b/c.jpg"])
def test_names_that_look_a_little_like_urls_are_files(name: str, tmp_path: Path) -> None:
    assert as_path(name) == Path(name)
    path = tmp_path / "https:" / "dog.jpg"
    path.parent.mkdir()
    path.write_bytes(JPEG)
    assert read_file(path) == JPEG


def test_the_photo_of_these_tests_is_sound() -> None:
    assert read_image(JPEG, thorough=True)[1].flaws == ()
    assert Image.open(BytesIO(photo())).size == (64, 64)
