"""Every format that people hand in comes out RGB and upright; what is broken is refused, named and with the reason."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from breedclf.data.formats.orientation import orientation
from breedclf.data.images import IMAGE_SUFFIXES, MAX_PIXELS, open_image, sniff_format, upright_rgb
from breedclf.errors import ImageError, ImageTooLargeError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def red_corner(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Blue, with the top left quarter red."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1] // 2))
    return image


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"", clear: bytes = b"") -> bytes:
    """A PNG file made by hand, for what Pillow doesn't write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    see_through = chunk(b"tRNS", clear) if clear else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + see_through
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def with_orientation(image: Image.Image, form: str, value: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(image, form, exif=exif, **options)


def near(pixel: Any, wanted: tuple[int, int, int], *, within: int = 6) -> bool:
    return all(abs(a - b) <= within for a, b in zip(pixel, wanted, strict=True))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_comes_out_rgb_whatever_the_files_name_says(tmp_path: Path, form: str) -> None:
    path = tmp_path / "dog.txt"
    path.write_bytes(encoded(red_corner(), form))
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert near(image.getpixel((2, 2)), RED)
    assert near(image.getpixel((40, 25)), BLUE)
    path.unlink()
    assert near(image.copy().getpixel((2, 2)), RED), "it is loaded: the file may go"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("value", "corner"),
    [(1, "00"), (2, "10"), (3, "11"), (4, "01"), (5, "00"), (6, "10"), (7, "11"), (8, "01")],
)
def test_exif_orientation_moves_the_red_corner_to_its_place(form: str, value: int, corner: str) -> None:
    options = {"quality": 95} if form in ("JPEG", "WEBP") else {}
    image = open_image(with_orientation(red_corner(), form, value, **options))
    assert image.size == ((48, 32) if value <= 4 else (32, 48))
    width, height = image.size
    for x, y in ("00", "10", "01", "11"):
        place = (2 if x == "0" else width - 3, 2 if y == "0" else height - 3)
        wanted = RED if x + y == corner else BLUE
        assert near(image.getpixel(place), wanted, within=40), (value, x, y)


def test_a_turned_image_is_not_turned_again() -> None:
    image = open_image(with_orientation(red_corner(), "JPEG", 6))
    assert upright_rgb(image).size == image.size == (32, 48)
    assert image.getexif().get(0x0112) is None


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xff" * 40,
        b"II*\0\xff\xff\xff\x7f",
        b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x1a\0\x05\0\0\0\x01\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x02\0\x12\x01\x03",
    ],
)
def test_a_damaged_exif_block_is_tolerated(block: bytes) -> None:
    jpeg = encoded(red_corner(), "JPEG", quality=95)
    start = jpeg.index(b"\xff\xe0") + 2 + int.from_bytes(jpeg[4:6], "big")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    for whole in (jpeg[:start] + segment + jpeg[start:], jpeg[:2] + segment + jpeg[start:]):  # with JFIF, and without
        assert near(open_image(whole).getpixel((2, 2)), RED)
    image = open_image(encoded(red_corner(), "PNG", exif=b"Exif\0\0" + block))
    assert image.getpixel((2, 2)) == RED


def test_orientation_is_found_behind_a_damaged_entry() -> None:
    broken = struct.pack("<HHLL", 0x011A, 5, 1, 0xFFFFFF)
    block = b"II*\0\x08\0\0\0\x02\0" + broken + struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    assert orientation(b"Exif\0\0" + block) == 6
    assert orientation(block.replace(struct.pack("<HHL", 0x0112, 3, 1) + b"\x06", b"\x12\x01\x03\0\x01\0\0\0\x09")) == 1


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_over_white(form: str) -> None:
    image = Image.new("RGBA", (30, 10), (*RED, 255))
    image.paste((*GREEN, 0), (10, 0, 20, 10))
    image.paste((0, 0, 0, 128), (20, 0, 30, 10))
    image = open_image(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
    assert image.mode == "RGB"
    assert image.getpixel((5, 5)) == RED
    assert image.getpixel((15, 5)) == WHITE
    assert near(image.getpixel((25, 5)), (127, 127, 127), within=1)


def test_transparency_of_grey_and_palette_images_lies_over_white() -> None:
    grey = Image.new("LA", (20, 10), (0, 255))
    grey.paste((0, 0), (10, 0, 20, 10))
    palette = Image.new("P", (20, 10), 0)
    palette.putpalette([*RED, *GREEN, *BLUE])
    palette.paste(1, (10, 0, 20, 10))
    for data, first in [
        (encoded(grey, "PNG"), (0, 0, 0)),
        (encoded(palette, "PNG", transparency=1), RED),
        (encoded(palette, "PNG", transparency=b"\xff\x00\x80"), RED),
        (encoded(palette, "GIF", transparency=1), RED),
        (encoded(red_corner().crop((0, 0, 24, 10)), "PNG"), RED),
    ]:
        image = open_image(data)
        assert image.getpixel((5, 5)) == first
        assert image.getpixel((15, 5)) == (WHITE if first != RED or data[:3] == b"GIF" or b"tRNS" in data else RED)


def test_palette_images_with_an_alpha_band() -> None:
    image = Image.new("PA", (4, 4))
    image.putpalette([*RED, *GREEN])
    image.putalpha(0)
    assert upright_rgb(image).getpixel((0, 0)) == WHITE
    image.putalpha(255)
    assert upright_rgb(image).getpixel((0, 0)) == RED


@pytest.mark.parametrize(
    ("ink", "wanted"),
    [((0, 255, 255, 0), RED), ((255, 0, 255, 0), GREEN), ((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_four_colour_images(ink: tuple[int, int, int, int], wanted: tuple[int, int, int]) -> None:
    image = Image.new("CMYK", (16, 16), ink)
    jpeg = encoded(image, "JPEG", quality=95)
    assert b"Adobe" in jpeg, "Pillow writes the inverted kind, with Adobe's marker"
    assert near(open_image(jpeg).getpixel((8, 8)), wanted)
    assert open_image(encoded(image, "TIFF")).getpixel((8, 8)) == wanted

    # Pillow and browsers take every JPEG of four colors for Adobe's inverted kind: programs that strip metadata drop
    # the marker, and files of the other kind are not met.
    marker = jpeg.index(b"\xff\xee")
    end = marker + 2 + int.from_bytes(jpeg[marker + 2 : marker + 4], "big")
    assert near(open_image(jpeg[:marker] + jpeg[end:]).getpixel((8, 8)), wanted), "without the marker"


def test_grey_one_bit_and_palette_images() -> None:
    assert open_image(encoded(Image.new("L", (4, 4), 77), "PNG")).getpixel((1, 1)) == (77, 77, 77)
    for form in ("PNG", "TIFF", "BMP"):
        assert open_image(encoded(Image.new("1", (9, 4), 1), form)).getpixel((8, 3)) == WHITE
    assert open_image(encoded(red_corner().quantize(4), "BMP")).getpixel((2, 2)) == RED


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize(("level", "wanted"), [(0, 0), (255, 1), (257, 1), (32_768, 128), (65_535, 255)])
def test_16_bit_greys_are_scaled_and_not_clipped(form: str, level: int, wanted: int) -> None:
    image = Image.fromarray(np.full((6, 6), level, dtype=np.uint16))
    assert open_image(encoded(image, form)).getpixel((3, 3)) == (wanted,) * 3


def test_16_bit_greys_in_the_other_byte_order() -> None:
    big = Image.frombytes("I;16B", (4, 4), np.full((4, 4), 32_768, dtype=">u2").tobytes())
    assert open_image(encoded(big, "TIFF")).getpixel((1, 1)) == (128, 128, 128)


def test_16_bit_png_with_colour_or_transparency() -> None:
    colour = png(1, 1, depth=16, colour=2, rows=b"\0" + struct.pack(">3H", 65_535, 32_768, 0))
    assert near(open_image(colour).getpixel((0, 0)), (255, 128, 0), within=1)
    two_greys = b"\0" + struct.pack(">2H", 1_000, 40_000)
    clear = png(2, 1, depth=16, colour=0, rows=two_greys, clear=struct.pack(">H", 1_000))
    assert open_image(clear).getpixel((0, 0)) == WHITE
    assert near(open_image(clear).getpixel((1, 0)), (156, 156, 156), within=1)
    grey_and_alpha = png(1, 1, depth=16, colour=4, rows=b"\0" + struct.pack(">2H", 0, 0))
    assert open_image(grey_and_alpha).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize(("mode", "level", "kind"), [("F", 0.5, "floating-point"), ("I", -5, "integer")])
def test_pixels_without_an_agreed_white_are_refused(mode: str, level: float, kind: str) -> None:
    data = encoded(Image.new(mode, (4, 4), level), "TIFF")
    with pytest.raises(ImageError, match=f"the given bytes can't be decoded: 32-bit {kind} pixels"):
        open_image(data)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (12, 12), colour) for colour in (RED, GREEN, BLUE)]
    for form in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert near(open_image(data).getpixel((6, 6)), RED), form


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_bomb_is_refused_before_it_is_decoded(form: str) -> None:
    if form == "PNG":
        data = png(30_000, 30_000)
    elif form == "BMP":
        data = b"BM" + struct.pack("<3L LllHH 6L", 0, 0, 54, 40, 30_000, 30_000, 1, 24, *[0] * 6)
    elif form == "GIF":
        frame = b"," + struct.pack("<HHHHB", 0, 0, 30_000, 30_000, 0) + b"\x02\x01\x00\x00;"
        data = b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0) + frame
    elif form == "WEBP":
        canvas = (30_000 - 1).to_bytes(3, "little")
        data = b"RIFF" + struct.pack("<L", 22) + b"WEBPVP8X" + struct.pack("<LL", 10, 0) + canvas + canvas
    else:
        data = encoded(Image.new("1", (10_000, 10_000)), "TIFF", compression="group4")
    start = time.process_time()
    with pytest.raises(ImageTooLargeError, match=r"the given bytes can't be decoded: .* pixels"):
        open_image(data)
    assert time.process_time() - start < 0.5


def test_no_warning_escapes_from_a_bomb_just_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(10_000, 10_000))
    code = (
        "import sys; from pathlib import Path; from breedclf.errors import ImageError\n"
        "from breedclf.data.images import open_image\n"
        "try: open_image(Path(sys.argv[1]))\n"
        "except ImageError as error: print(error)"
    )
    for filters in (["-W", "error"], ["-W", "always"]):
        done = subprocess.run([sys.executable, *filters, "-c", code, path], capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        assert done.stdout == f"{path} can't be decoded: 10,000 x 10,000 is more than 89,478,485 pixels\n"
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", r"can't be decoded: it is empty \(0 bytes\)"),
        ("text.jpg", b"this is no image\n", r"can't be decoded: it is none of JPEG, .*starts with b'this is no i'"),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "can't be decoded: it is none of"),
        ("head.jpg", encoded(red_corner((400, 300)), "JPEG")[:150], "can't be decoded as JPEG: "),
        ("half.jpg", encoded(red_corner((400, 300)), "JPEG")[:-900], "can't be decoded as JPEG: .*truncated"),
        ("half.png", encoded(red_corner((400, 300)), "PNG")[:-200], "can't be decoded as PNG: "),
        ("half.webp", encoded(red_corner((400, 300)), "WEBP")[:-20], "can't be decoded as WebP: "),
        ("half.gif", encoded(red_corner((400, 300)), "GIF")[:-300], "can't be decoded as GIF: "),
        ("half.bmp", encoded(red_corner((40, 30)), "BMP")[:-300], "can't be decoded as BMP: "),
        ("half.tif", encoded(red_corner((40, 30)), "TIFF")[:-300], "can't be decoded as TIFF: "),
        ("bm.bmp", b"BMX is a sport", "can't be decoded as BMP: "),
    ],
)
def test_a_broken_file_is_named_with_the_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=f"the given bytes {reason}"):
        open_image(content)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    (tmp_path / "file.txt").touch()
    dangling = tmp_path / "link.jpg"
    dangling.symlink_to(tmp_path / "gone.jpg")
    for path, reason in [
        (pipe, "it is a pipe, socket or device, not a file"),
        (tmp_path, "it is a folder, not a file"),
        (tmp_path / "gone.jpg", "No such file"),
        (dangling, "No such file"),
        (Path("/dev/zero"), "it is a pipe, socket or device, not a file"),
        (tmp_path / "file.txt" / "dog.jpg", "Not a directory"),
        (Path("nul\0l.jpg"), "null"),
    ]:
        with pytest.raises(ImageError, match=f"can't be read: .*{reason}"):
            open_image(path)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(red_corner(), "PNG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(ImageError, match=r"secret\.png can't be read: Permission denied"):
        open_image(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.write(b"II*\0")
        file.truncate(3 << 30)
    with pytest.raises(ImageTooLargeError, match=r"huge\.tif can't be decoded: 3,221,225,472 bytes"):
        open_image(path)


def test_errors_cross_a_process_boundary() -> None:
    for broken, kind in [(b"", ImageError), (png(30_000, 30_000), ImageTooLargeError)]:
        with pytest.raises(ImageError) as caught:
            open_image(broken)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert type(copy) is kind
        assert str(copy) == str(caught.value)


def test_threads_may_decode_at_the_same_time() -> None:
    turned = [with_orientation(red_corner(), form, 6) for form in ("JPEG", "PNG", "WEBP", "TIFF")]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(open_image, turned * 20))
    assert all(image.size == (32, 48) and near(image.getpixel((29, 2)), RED, within=60) for image in images)


def test_an_image_opened_by_the_caller_is_decoded_or_refused() -> None:
    lazy = Image.open(BytesIO(with_orientation(red_corner(), "JPEG", 6)))
    assert upright_rgb(lazy).size == (32, 48)
    cut = Image.open(BytesIO(encoded(red_corner((400, 300)), "JPEG")[:-900]))
    with pytest.raises(ImageError, match="opened with Pillow can't be decoded"):
        upright_rgb(cut)


def test_formats_are_told_by_their_first_bytes() -> None:
    assert sniff_format(encoded(red_corner(), "WEBP")) == "WebP"
    assert sniff_format(encoded(red_corner(), "PPM")) is None
    assert sniff_format(b"") is None
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)


def test_a_png_whose_text_unpacks_to_megabytes_is_refused() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "a" * 5_000_000, zip=True)
    with pytest.raises(ImageError, match="can't be decoded as PNG"):
        open_image(encoded(red_corner(), "PNG", pnginfo=texts))
