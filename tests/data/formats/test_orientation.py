"""An image is upright by EXIF wherever its format keeps it, and by XMP where EXIF says nothing: as Pillow turns it."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from breedclf.data.decoding import decode_image
from breedclf.data.formats.orientation import orientation
from breedclf.data.images import open_image, read_image, upright_rgb

CORNER = Image.new("RGB", (48, 32), (0, 0, 255))
CORNER.paste((255, 0, 0), (0, 0, 24, 16))


def exif_of(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def xmp_of(value: int, *, element: bool = False) -> bytes:
    said = f"><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>"
    attribute = f' tiff:Orientation="{value}"/>'
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f"{said if element else attribute}</rdf:RDF></x:xmpmeta>"
    ).encode()


def encoded(form: str, **options: Any) -> bytes:
    file = BytesIO()
    CORNER.save(file, form, **options)
    return file.getvalue()


def raw_profile(name: str, block: bytes) -> bytes:
    """As ImageMagick writes a block into a PNG file."""
    texts = PngImagePlugin.PngInfo()
    lines = "\n".join(block.hex()[at : at + 72] for at in range(0, 2 * len(block), 72))
    texts.add_text(f"Raw profile type {name}", f"\n{name}\n{len(block):8}\n{lines}\n", zip=True)
    return encoded("PNG", pnginfo=texts)


def png_xmp(packet: bytes) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet.decode())
    return encoded("PNG", pnginfo=texts)


def jpeg_xmp(packet: bytes) -> bytes:
    return encoded("JPEG", quality=95, xmp=packet)


PLACES: dict[str, Callable[[int], bytes]] = {
    "JPEG, EXIF": lambda value: encoded("JPEG", quality=95, exif=exif_of(value)),
    "JPEG, XMP": lambda value: jpeg_xmp(xmp_of(value)),
    "JPEG, XMP element": lambda value: jpeg_xmp(xmp_of(value, element=True)),
    "PNG, eXIf": lambda value: encoded("PNG", exif=exif_of(value)),
    "PNG, raw EXIF": lambda value: raw_profile("exif", exif_of(value)),
    "PNG, XMP": lambda value: png_xmp(xmp_of(value)),
    "WebP, EXIF": lambda value: encoded("WEBP", quality=95, exif=exif_of(value)),
    "WebP, XMP": lambda value: encoded("WEBP", quality=95, xmp=xmp_of(value)),
    "TIFF, tag": lambda value: encoded("TIFF", exif=exif_of(value)),
    "TIFF, XMP": lambda value: encoded("TIFF", tiffinfo={700: xmp_of(value)}),
    "TIFF, both": lambda value: encoded("TIFF", tiffinfo={274: value, 700: xmp_of(value)}),
}
OURS_ALONE: dict[str, Callable[[int], bytes]] = {
    "PNG, raw APP1": lambda value: raw_profile("APP1", exif_of(value)),
    "PNG, raw XMP": lambda value: raw_profile("xmp", xmp_of(value)),
    "JPEG, XMP in single quotes": lambda value: jpeg_xmp(xmp_of(value).replace(b'"', b"'")),
}


@pytest.mark.parametrize("value", range(10))
@pytest.mark.parametrize("place", PLACES)
def test_it_is_turned_as_pillow_turns_it(place: str, value: int) -> None:
    data = PLACES[place](value)
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    found, facts = read_image(data)
    assert np.array_equal(np.asarray(found), np.asarray(expected)), place
    assert np.array_equal(decode_image(data).permute(1, 2, 0).numpy(), np.asarray(expected))
    assert np.array_equal(np.asarray(upright_rgb(Image.open(BytesIO(data)))), np.asarray(expected))
    if place != "TIFF, XMP":  # Pillow has turned it before anybody asks
        assert facts.orientation == (value if 1 <= value <= 8 else 1)


@pytest.mark.parametrize("place", OURS_ALONE)
def test_places_that_pillow_doesn_t_look_at(place: str) -> None:
    turned = open_image(OURS_ALONE[place](6))
    assert turned.size == (32, 48)
    assert np.array_equal(np.asarray(turned), np.asarray(open_image(OURS_ALONE[place](1)).rotate(-90, expand=True)))


def test_exif_counts_before_xmp_even_where_it_says_upright() -> None:
    assert orientation(exif_of(1), xmp_of(6)) == 1
    assert orientation(exif_of(8), xmp_of(6)) == 8
    assert orientation(b"", xmp_of(6)) == 6
    assert orientation(b"Exif\0\0II*\0\xff\xff", xmp_of(6)) == 6
    assert orientation(b"Exif\0\0" + exif_of(6)) == 6
    both = encoded("JPEG", quality=95, exif=exif_of(3), xmp=xmp_of(6))
    assert read_image(both)[1].orientation == 3
    assert open_image(both).size == (48, 32)


@pytest.mark.parametrize("text", ["", "exif", "\nexif\n      80\nno hexadecimal\n", "\nexif\n4\n4578"])
def test_a_damaged_text_says_nothing(text: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", text)
    assert read_image(encoded("PNG", pnginfo=texts))[1].orientation == 1
