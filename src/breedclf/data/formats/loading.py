"""From a file's bytes to Pillow's image as the file holds it: where formats need more care than Pillow takes.

What can be read although something is wrong with it comes with its flaws; what can't be trusted is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Literal, NamedTuple

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from breedclf.data.formats import jpeg, png, tiff
from breedclf.data.formats.orientation import orientation, orientation_of
from breedclf.errors import ImageTooLargeError

FlawKind = Literal["damaged", "blank", "broken_profile"]
Flaw = tuple[FlawKind, str]
"""What is wrong with an image that can be read all the same, in words about `it`."""

_PADDING = bytes(8)  # libjpeg looks ahead so far
_NOISE = bytes((37 * number) % 251 + 1 for number in range(64))
_LEFT_OVER_BYTES = 8
_LEAST_BYTES = 64
_ZEROS_AT_THE_END = 64
_NO_DATA = (127, 128)  # what every channel holds where a JPEG decoder ran out of data


class Raw(NamedTuple):
    """A loaded image, what it was in the file, and the orientation that it still is to be turned by."""

    image: Image.Image
    mode: str
    size: tuple[int, int]
    orientation: int
    flaws: tuple[Flaw, ...] = ()


def load(data: bytes, format_name: str, max_pixels: int, *, thorough: bool = False) -> Raw:
    """Load the first frame; `thorough` decodes a JPEG a second time, to notice what decoders pass over.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels.
        ValueError: it is damaged, or laid out in a way that is not read; Pillow may raise anything else.
    """
    return _LOADERS[format_name](data, max_pixels, thorough)


def _opened(reader: type[ImageFile.ImageFile], data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    image = reader(BytesIO(data))
    if image.width * image.height > max_pixels:
        raise ImageTooLargeError(f"{image.width:,} x {image.height:,} is more than {max_pixels:,} pixels")
    image.load()
    return image


def _raw(image: Image.Image, flaws: tuple[Flaw, ...] = ()) -> Raw:
    return Raw(image, image.mode, image.size, orientation_of(image.info), flaws)


def _load_jpeg(data: bytes, max_pixels: int, thorough: bool) -> Raw:
    about = jpeg.parts(data)
    data, flaws = jpeg.without_metadata(data, about), []
    if about.metadata_spans:
        about = jpeg.parts(data)._replace(exif=about.exif, xmp=about.xmp)
    found, end = jpeg.scans(data, about) if about.scan else ([], -1)
    if about.scan and end < 0:
        data = data.rstrip(b"\0")
        data, end = data + jpeg.END, len(data)
        flaws.append("it lacks its end marker; its pixels are whole")
    image = _opened(JpegImageFile, data, max_pixels)
    if jpeg.in_one_scan(data, about):
        ran_out = ran_out_of_data(image.getpixel((image.width - 1, image.height - 1)))
        if ran_out and not _decodes(data[:end] + _PADDING):
            raise ValueError("it is truncated: its data end before its last pixel")
        if thorough and end - about.scan > _LEAST_BYTES and _decodes(data[: end - _LEFT_OVER_BYTES]):
            flaws.append("its data don't fit its size: something in their middle is damaged or missing")
    elif about.scan:
        if jpeg.missing(about, found):
            raise ValueError("it is truncated: some of its scans are missing")
        if (thorough or flaws) and _changes_by(data[:end] + _NOISE + jpeg.END, image):
            if flaws:
                raise ValueError("it is truncated: its last scan ends early")
            flaws.append("its last scan ends early, so that some detail is missing")
    turn = orientation(about.exif, about.xmp)
    return Raw(image, image.mode, image.size, turn, tuple(("damaged", flaw) for flaw in flaws))


def ran_out_of_data(pixel: object) -> bool:
    """Whether a JPEG's last pixel has the grey that decoders fill in where the data end."""
    return all(level in _NO_DATA for level in pixel) if isinstance(pixel, tuple) else pixel in _NO_DATA


def _decodes(data: bytes) -> bool:
    """Whether a JPEG without an end marker holds enough for every pixel: Pillow fills in none without that marker."""
    image = JpegImageFile(BytesIO(data))
    image.draft(image.mode, (1, 1))
    try:
        image.load()
    except OSError:
        return False
    return True


def _changes_by(data: bytes, image: Image.Image) -> bool:
    """Whether a JPEG with noise behind its last scan comes out otherwise: then that scan was waiting for more."""
    with JpegImageFile(BytesIO(data)) as noisy:
        noisy.load()
        return noisy.tobytes() != image.tobytes()


def _load_png(data: bytes, max_pixels: int, thorough: bool) -> Raw:  # noqa: ARG001
    data, flaws = png.checked(data)
    return _raw(_opened(PngImageFile, data, max_pixels), tuple(("damaged", flaw) for flaw in flaws))


def _load_bmp(data: bytes, max_pixels: int, thorough: bool) -> Raw:  # noqa: ARG001
    image: Image.Image = _opened(BmpImageFile, data, max_pixels)
    return _raw(image)._replace(image=_opaque_if_all_clear(image))


def _load_tiff(data: bytes, max_pixels: int, thorough: bool) -> Raw:  # noqa: ARG001
    tags = tiff.numbers(data)
    about = tiff.greys(tags)
    turn = tags[tiff.ORIENTATION].value if tiff.ORIENTATION in tags else 1
    try:
        image: Image.Image = _opened(TiffImageFile, tiff.for_pillow(data, tags, about), max_pixels)
    except SyntaxError as error:
        if "unknown pixel mode" not in str(error):
            raise
        raise ValueError(
            f"its pixels ({tiff.layout(tags)}) are laid out in a way that isn't read; "
            "save it as PNG, or as TIFF with 8 bits a channel"
        ) from error
    mode, info = image.mode, image.info
    if about is not None and about.scaled:
        image = tiff.levels(image, about)
        image.info.update(info)
    elif not tiff.says_alpha(tags):
        image = _opaque_if_all_clear(image)
    return Raw(image, mode, image.size, turn if 1 <= turn <= 8 else 1)


def _opaque_if_all_clear(image: Image.Image) -> Image.Image:
    """As viewers do where a fourth channel may be padding: if it is zero everywhere, it is no transparency."""
    if image.mode != "RGBA" or image.getchannel("A").getextrema() != (0, 0):
        return image
    opaque = image.convert("RGB")
    opaque.info = image.info
    return opaque


def _load_webp(data: bytes, max_pixels: int, thorough: bool) -> Raw:
    return _with_zeros_noticed(_raw(_opened(WebPImageFile, data, max_pixels)), data, thorough=thorough)


def _load_gif(data: bytes, max_pixels: int, thorough: bool) -> Raw:
    return _with_zeros_noticed(_raw(_opened(GifImageFile, data, max_pixels)), data, thorough=thorough)


def _with_zeros_noticed(raw: Raw, data: bytes, *, thorough: bool) -> Raw:
    """These formats carry no checksum, but compressed data hardly end in many zeros."""
    zeros = len(data) - len(data.rstrip(b"\0")) if thorough else 0
    if zeros < _ZEROS_AT_THE_END:
        return raw
    return raw._replace(flaws=(("damaged", f"its last {zeros:,} bytes are zeros, as if it had been cut short"),))


_LOADERS: dict[str, Callable[[bytes, int, bool], Raw]] = {
    "JPEG": _load_jpeg,
    "PNG": _load_png,
    "WebP": _load_webp,
    "GIF": _load_gif,
    "BMP": _load_bmp,
    "TIFF": _load_tiff,
}
FORMATS = tuple(_LOADERS)
"""The formats that are read."""
