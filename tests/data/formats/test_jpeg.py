"""JPEG files that end early, late, or without their end marker: what viewers show is read, half an image is refused."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from breedclf.data.decoding import as_tensor, decode_image, plain_jpeg
from breedclf.data.formats import jpeg
from breedclf.data.images import open_image, read_image
from breedclf.errors import ImageError

END = b"\xff\xd9"


def photo(mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Smooth colors with noise, as detailed as a photo."""
    random = np.random.default_rng(3)
    smooth = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    return Image.blend(smooth, noise, 0.15).convert(mode)


def encoded(image: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


KINDS = {
    "baseline": encoded(photo()),
    "grey": encoded(photo("L")),
    "cmyk": encoded(photo("CMYK")),
    "restarts": encoded(photo(), restart_marker_rows=1),
    "4:4:4": encoded(photo(), subsampling="4:4:4"),
    "progressive": encoded(photo(), progressive=True),
    "grey progressive": encoded(photo("L"), progressive=True),
}


def read(data: bytes) -> np.ndarray[Any, Any]:
    """The pixels, the same by the quick and the general way."""
    general = open_image(data)
    assert np.array_equal(as_tensor(general), decode_image(data))
    return np.asarray(general)


def refused(data: bytes) -> str:
    """Why a file is refused, in the same words both ways."""
    reasons = []
    for decode in (open_image, decode_image):
        with pytest.raises(ImageError) as caught:
            decode(data)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]
    return reasons[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_image_is_read_whatever_follows_it(kind: str) -> None:
    whole = KINDS[kind]
    expected = read(whole)
    for data in (
        whole[:-2],
        whole[:-1],
        whole[:-2] + b"x",
        whole[:-2] + bytes(1000),
        whole + b"garbage" * 100,
        whole + bytes(1000),
        whole + KINDS["baseline"],
    ):
        assert np.array_equal(read(data), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.65])
def test_half_an_image_is_refused_whatever_follows_it(kind: str, share: float) -> None:
    whole = KINDS[kind]
    length = whole.rindex(b"\xff\xda") if "progressive" in kind else len(whole)
    cut = whole[: int(length * share)].removesuffix(b"\xff")
    for data in (cut, cut + END, cut + bytes(len(whole) - len(cut)), cut + bytes(500) + END):
        assert "truncated" in refused(data)


def test_a_last_scan_that_ends_early_costs_detail_only_and_is_told() -> None:
    whole = KINDS["progressive"]
    cut = whole[: int(len(whole) * 0.93)].removesuffix(b"\xff")
    assert np.abs(read(cut + END).astype(int) - read(whole)).mean() < 2
    assert "its last scan ends early" in refused(cut)


def test_the_grey_of_missing_data_may_be_the_images_own() -> None:
    grey = photo()
    grey.paste((128, 128, 128), (0, 120, 320, 240))
    data = encoded(grey)
    assert read(data)[-1, -1].tolist() == [128, 128, 128]
    assert "truncated" in refused(data[: len(data) // 2] + END)
    tiny = encoded(Image.new("RGB", (16, 16), (128, 128, 128)))
    assert read(tiny)[-1, -1].tolist() == [128, 128, 128]


def test_what_is_decoded_smaller_is_refused_too() -> None:
    large = encoded(photo(size=(1200, 900)))
    with pytest.raises(ImageError, match="truncated"):
        decode_image(large[: len(large) // 2] + END, enough_px=256)


def test_scans_of_one_component_each_have_to_be_there() -> None:
    """A sequential file may send its components one after the other."""
    planes = sequential_in_three_scans()
    found, end = jpeg.scans(planes, about := jpeg.parts(planes))
    assert ([scan.components for scan in found], jpeg.missing(about, found), planes[end:]) == (
        [b"\x01", b"\x02", b"\x03"],
        0,
        END,
    )
    assert len(set(read(planes)[0, 0].tolist())) == 1
    third = planes.rindex(b"\xff\xda")
    assert "some of its scans are missing" in refused(planes[:third] + END)


def sequential_in_three_scans() -> bytes:
    """One grey plane, named as the luma and both chromas of one frame."""
    grey = encoded(photo("L", (64, 48)), subsampling="4:4:4")
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    data = grey[scan + 10 : -2]
    blank = encoded(Image.new("L", (64, 48), 128))
    blank_data = blank[blank.index(b"\xff\xda") + 10 : -2]
    size = grey[frame + 5 : frame + 9]
    head = b"\xff\xc0" + struct.pack(">HB", 17, 8) + size + b"\x03" + b"\x01\x11\0\x02\x11\0\x03\x11\0"
    scans = [
        b"\xff\xda\0\x08\x01" + bytes([number]) + b"\0\0\x3f\0" + content
        for number, content in ((1, data), (2, blank_data), (3, blank_data))
    ]
    return grey[:frame] + head + grey[frame + 13 : scan] + b"".join(scans) + END


def test_damage_that_decoders_ignore_is_reported_by_a_thorough_check() -> None:
    def flaws(data: bytes) -> list[str]:
        return [f"{kind}: {what}" for kind, what in read_image(data, thorough=True)[1].flaws]

    for kind, whole in KINDS.items():
        assert flaws(whole) == [], kind
        assert flaws(whole[:-2]) == ["damaged: its end marker is missing; its pixels are complete"], kind
    whole = KINDS["baseline"]
    scan = jpeg.parts(whole).scan
    assert flaws(whole[:-2] + whole[scan + 100 : scan + 400] + END) == [
        "damaged: its data don't match its size: a part in the middle is damaged or missing"
    ]
    late = KINDS["progressive"]
    (told,) = flaws(late[: int(len(late) * 0.93)].removesuffix(b"\xff") + END)
    assert told == "damaged: its last scan ends early, so some detail is missing"


def test_more_scans_than_any_image_needs_are_refused() -> None:
    whole = KINDS["progressive"]
    last = whole.rindex(b"\xff\xda")
    many = whole[:-2] + whole[last:-2] * 1001 + END
    assert "more than 100 scans" in refused(many)


def test_one_without_its_end_goes_the_general_way() -> None:
    whole = KINDS["baseline"]
    assert plain_jpeg(whole) is not None
    assert plain_jpeg(whole[:-2]) is None


def test_nothing_is_printed_about_a_whole_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no end.jpg"
    path.write_bytes(KINDS["baseline"][:-2])
    decode_image(path)
    assert capfd.readouterr().err == ""
