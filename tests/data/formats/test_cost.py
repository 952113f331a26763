"""Images that would keep a decoder busy are refused from their headers, at once, and honest ones never are."""

from __future__ import annotations

import re
import struct
import time
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from breedclf.data.decoding import decode_image
from breedclf.data.formats.cost import MAX_WORK, ImageCost, check_cost
from breedclf.data.images import MAX_PIXELS, open_image, read_image, sniff_format
from breedclf.errors import ImageTooCostlyError, ImageTooLargeError
from tests.hostile_images import encoded, many_scans, png_chunk, png_of

QUICK_SECONDS = 1.0
BLOCKS = Image.fromarray(np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((320, 240))


def cost_of(data: bytes) -> ImageCost:
    return check_cost(data, sniff_format(data) or "", "the image", max_pixels=MAX_PIXELS)


def padded_jpeg(filling: bytes) -> bytes:
    jpeg = encoded(BLOCKS, "JPEG")
    return jpeg[:20] + filling + jpeg[20:]


def png_with(chunks: bytes) -> bytes:
    png = encoded(BLOCKS, "PNG")
    return png[:33] + chunks + png[33:]


def gif_with(blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + blocks + encoded(BLOCKS.convert("P"), "GIF")[13 + 768 :]


def tiff_with(*entries: tuple[int, int, int, int]) -> bytes:
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + packed + bytes(4)


def webp_of(width: int, height: int) -> bytes:
    """A canvas of that size with nothing on it."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<L", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<L", 4 + len(chunk)) + b"WEBP" + chunk


def bmp_in_runs() -> bytes:
    header = struct.pack("<LllHHLLllLL", 40, 4000, 4000, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<LLL", 0, 0, 54 + 1024) + header + bytes(1024) + b"\x01\x00" * (10 << 20)


COSTLY = {
    "81,501 scans": (many_scans(81_501), "more than 100 scans"),
    "101 scans over a large image": (many_scans(91, (6000, 5000)), "more than 100 scans"),
    "scans of a baseline JPEG": (many_scans(500, progressive=False), "more than 100 scans"),
    "90 scans of 50 million pixels": (many_scans(80, (7000, 7000)), "times the limit"),
    "empty segments": (padded_jpeg(b"\xff\xfe\x00\x02" * 1_500_000), "segments"),
    "fill bytes": (padded_jpeg(b"\xff" * (6 << 20)), "are junk"),
    "junk between segments": (padded_jpeg(b"\0" * (6 << 20)), "are junk"),
    "a column": (png_of(1, 49_900_000), "a side of more than 500,000"),
    "a row": (png_of(49_900_000, 1), "a side of more than 500,000"),
    "empty chunks": (png_with(png_chunk(b"teXt", b"") * 500_000), "chunks"),
    "GIF extensions": (gif_with(b"!\xfe\x01a\x00" * 500_000), "blocks before its first frame"),
    "one long GIF extension": (gif_with(b"!\xfe" + b"\x01a" * 500_000 + b"\x00"), "blocks before its first frame"),
    "GIF junk": (gif_with(bytes(6 << 20)), "are junk"),
    "BMP in runs": (bmp_in_runs(), "times the limit"),
    "TIFF tags over the same bytes": (
        tiff_with((256, 4, 1, 9), (257, 4, 1, 9), *[(700, 1, 1 << 20, 8)] * 3000),
        "its tags claim",
    ),
    "TIFF strips": (
        tiff_with((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 1_000_000, 8)) + bytes(4_000_000),
        "times the limit",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_costs_too_much_is_refused_at_once(name: str) -> None:
    data, reason = COSTLY[name]
    for decode in (decode_image, open_image):
        started = time.process_time()
        with pytest.raises(ImageTooCostlyError, match=f"the image can't be decoded.*{re.escape(reason)}"):
            decode(data, name="the image")
        assert time.process_time() - started < QUICK_SECONDS


@pytest.mark.parametrize(
    "data",
    [
        png_of(10_000, 9_000),
        webp_of(16_383, 16_383),
        gif_with(b",\0\0\0\0\xff\xff\xff\xff\0"),
        many_scans(0, (9500, 9500)),
    ],
    ids=["PNG", "WebP", "a GIF's frame beyond its screen", "JPEG"],
)
def test_too_many_pixels_are_refused_before_a_decoder_sees_them(data: bytes) -> None:
    with pytest.raises(ImageTooLargeError, match="pixels") as error:
        read_image(data, "the image", max_pixels=80_000_000)
    assert type(error.value) is ImageTooLargeError


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"progressive": True, "subsampling": 0, "quality": 100}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("GIF", {"comment": b"drawn " * 1000}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_honest_images_are_far_from_every_bound(form: str, options: dict[str, object]) -> None:
    data = encoded(BLOCKS, form, **options)
    cost = cost_of(data)
    assert (cost.width, cost.height) == (320, 240)
    assert 320 * 240 <= cost.work < MAX_WORK / 100
    assert decode_image(data).shape == (3, 240, 320)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_largest_photos_are_taken(progressive: bool) -> None:
    file = BytesIO()
    Image.new("RGB", (9400, 9400)).save(file, "JPEG", progressive=progressive)
    cost = cost_of(file.getvalue())
    assert cost.width * cost.height <= cost.work <= MAX_WORK


def test_segments_and_chunks_of_a_real_editor_are_taken() -> None:
    profile = b"\xff\xe2\xff\xff" + bytes(65_533)
    assert decode_image(padded_jpeg(profile * 255)).shape == (3, 240, 320)
    assert decode_image(padded_jpeg(b"\xff\xff\xff\xff")).shape == (3, 240, 320)
    pieces = b"".join(png_chunk(b"prVt", bytes(8192)) for _ in range(3000))
    assert decode_image(png_with(pieces)).shape == (3, 240, 320)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_damaged_header_is_left_to_the_decoder(kind: str) -> None:
    data = encoded(BLOCKS, kind)
    for length in (*range(12, 200), *range(200, len(data), 997)):
        cost_of(data[:length])
    noise = np.random.default_rng(7)
    for _ in range(300):
        broken = bytearray(data)
        for at in noise.integers(12, min(len(data), 400), 6):
            broken[at] = noise.integers(256)
        try:
            cost_of(bytes(broken))
        except ImageTooLargeError:
            continue


def test_zlib_is_not_asked_for_more_than_the_pixels() -> None:
    """What follows the last row is never unpacked, however much of it there is."""
    bomb = zlib.compress(bytes(100 << 20), 6)
    header = png_chunk(b"IHDR", struct.pack(">LLBBBBB", 8, 8, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", bomb) + png_chunk(b"IEND", b"")
    started = time.process_time()
    assert decode_image(data).shape == (3, 8, 8)
    assert time.process_time() - started < QUICK_SECONDS
