"""PNG files whose checksums fail, or that end early."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from breedclf.data.images import open_image, read_image
from breedclf.errors import ImageError


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def png(*, parts: int = 8, extra: bytes = b"") -> tuple[bytes, np.ndarray]:
    """A file whose pixels lie in several chunks, as libpng writes them."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    packed = zlib.compress(rows)
    step = -(-len(packed) // parts)
    data = b"".join(chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step))
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", 80, 60, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + data + chunk(b"IEND", b""), pixels


def flaws(data: bytes) -> list[str]:
    return [what for _, what in read_image(data)[1].flaws]


@pytest.mark.parametrize("parts", [1, 8])
def test_a_zeroed_tail_is_refused_wherever_it_begins(parts: int) -> None:
    whole, _ = png(parts=parts)
    starts = [at for at in range(len(whole)) if whole.startswith(b"IDAT", at)]
    cuts = {int(len(whole) * number / 40) for number in range(1, 40)} | {start - 4 for start in starts}
    for cut in sorted(cuts):
        for data in (whole[:cut] + bytes(len(whole) - cut), whole[:cut]):
            with pytest.raises(ImageError, match="can't be decoded"):
                open_image(data)


def test_a_failed_checksum_of_the_pixels_is_refused_with_its_place() -> None:
    whole, _ = png()
    at = whole.index(b"IDAT") + 40
    damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    with pytest.raises(ImageError, match=r"as PNG: its IDAT chunk at byte 33 has a wrong checksum: it is damaged"):
        open_image(damaged)
    palette = BytesIO()
    Image.new("P", (4, 4)).save(palette, "PNG")
    bad = palette.getvalue()
    at = bad.index(b"PLTE") + 5
    with pytest.raises(ImageError, match="its PLTE chunk"):
        open_image(bad[:at] + bytes([bad[at] ^ 1]) + bad[at + 1 :])


@pytest.mark.parametrize("name", [b"tEXt", b"eXIf", b"gAMA", b"iCCP"])
def test_a_damaged_chunk_that_the_pixels_don_t_need_is_passed_over(name: bytes) -> None:
    bad = bytearray(chunk(name, b"comment\0text"))
    bad[-1] ^= 1
    data, pixels = png(extra=bytes(bad))
    assert np.array_equal(np.asarray(open_image(data)), pixels)
    assert flaws(data) == [f"its {name.decode()} chunk at byte 33 has a wrong checksum and is ignored"]


def test_a_file_that_only_lacks_its_end_is_read() -> None:
    whole, pixels = png()
    for data in (whole[:-12], whole[:-3], whole[:-12] + bytes(700), whole[:-14]):
        assert np.array_equal(np.asarray(open_image(data)), pixels)
        assert flaws(data) == ["its end (IEND) is missing; its pixels are complete"]
    assert flaws(whole) == []
    assert flaws(whole + b"what some programs append") == []


def test_animations_and_texts_have_no_flaws() -> None:
    frames = [Image.new("RGB", (12, 12), color) for color in ((9, 9, 9), (90, 0, 0))]
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "a" * 500, zip=True)
    file = BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], pnginfo=texts)
    assert flaws(file.getvalue()) == []
