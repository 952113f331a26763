"""Load a file's first frame by Pillow, with the additional checks that each format needs.

A file that is damaged but readable is returned with its flaws; a file whose pixels can't be trusted is refused.
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
"""What is wrong with a readable image: a kind and a sentence whose subject is `it`."""

_PADDING = bytes(8)  # as many bytes as libjpeg reads ahead
_NOISE = bytes((37 * number) % 251 + 1 for number in range(64))
_LEFT_OVER_BYTES = 8
_LEAST_BYTES = 64
_ZEROS_AT_THE_END = 64
_NO_DATA = (127, 128)  # the value of every channel where a JPEG decoder ran out of data


class Raw(NamedTuple):
    """A loaded image, its mode and size in the file, and the orientation that it still has to be turned by."""

    image: Image.Image
    mode: str
    size: tuple[int, int]
    orientation: int
    flaws: tuple[Flaw, ...] = ()


def load(data: bytes, format_name: str, max_pixels: int, *, thorough: bool = False) -> Raw:
    """Load the first frame; `thorough` decodes a JPEG a second time to detect damage that decoders ignore.

    Raises:
        ImageTooLargeError: it has more than `max_pixels` pixels.
        ValueError: it is damaged, or its layout isn't supported; Pillow may raise other exceptions.
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
        flaws.append("its end marker is missing; its pixels are complete")
    image = _opened(JpegImageFile, data, max_pixels)
    if jpeg.in_one_scan(data, about):
        ran_out = ran_out_of_data(image.getpixel((image.width - 1, image.height - 1)))
        if ran_out and not _decodes(data[:end] + _PADDING):
            raise ValueError("it is truncated: its data end before the last pixel")
        if thorough and end - about.scan > _LEAST_BYTES and _decodes(data[: end - _LEFT_OVER_BYTES]):
            flaws.append("its data don't match its size: a part in the middle is damaged or missing")
    elif about.scan:
        if jpeg.missing(about, found):
            raise ValueError("it is truncated: some of its scans are missing")
        if (thorough or flaws) and _changes_by(data[:end] + _NOISE + jpeg.END, image):
            if flaws:
                raise ValueError("it is truncated: its last scan ends early")
            flaws.append("its last scan ends early, so some detail is missing")
    turn = orientation(about.exif, about.xmp)
    return Raw(image, image.mode, image.size, turn, tuple(("damaged", flaw) for flaw in flaws))


def ran_out_of_data(pixel: object) -> bool:
    """Whether a JPEG's last pixel has the gray that decoders fill in where data are missing."""
    return all(level in _NO_DATA for level in pixel) if isinstance(pixel, tuple) else pixel in _NO_DATA


def _decodes(data: bytes) -> bool:
    """Whether a JPEG without its end marker has data for every pixel: without that marker Pillow fills in nothing."""
    image = JpegImageFile(BytesIO(data))
    image.draft(image.mode, (1, 1))
    try:
        image.load()
    except OSError:
        return False
    return True


def _changes_by(data: bytes, image: Image.Image) -> bool:
    """Whether noise behind the last scan of a JPEG changes its pixels: if so, that scan is incomplete."""
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
    about = tiff.grayscale(tags)
    turn = tags[tiff.ORIENTATION].value if tiff.ORIENTATION in tags else 1
    try:
        image: Image.Image = _opened(TiffImageFile, tiff.for_pillow(data, tags, about), max_pixels)
    except SyntaxError as error:
        if "unknown pixel mode" not in str(error):
            raise
        raise ValueError(
            f"its pixels ({tiff.layout(tags)}) have a layout that isn't supported; "
            "save it as PNG, or as TIFF with 8 bits per channel"
        ) from error
    mode, info = image.mode, image.info
    if about is not None and about.scaled:
        image = tiff.levels(image, about)
        image.info.update(info)
    elif not tiff.says_alpha(tags):
        image = _opaque_if_all_clear(image)
    return Raw(image, mode, image.size, turn if 1 <= turn <= 8 else 1)


def _opaque_if_all_clear(image: Image.Image) -> Image.Image:
    """Treat a fourth channel that is zero everywhere as padding instead of transparency, as viewers do."""
    if image.mode != "RGBA" or image.getchannel("A").getextrema() != (0, 0):
        return image
    opaque = image.convert("RGB")
    opaque.info = image.info
    return opaque


def _load_webp(data: bytes, max_pixels: int, thorough: bool) -> Raw:
    return _with_trailing_zeros_reported(_raw(_opened(WebPImageFile, data, max_pixels)), data, thorough=thorough)


def _load_gif(data: bytes, max_pixels: int, thorough: bool) -> Raw:
    return _with_trailing_zeros_reported(_raw(_opened(GifImageFile, data, max_pixels)), data, thorough=thorough)


def _with_trailing_zeros_reported(raw: Raw, data: bytes, *, thorough: bool) -> Raw:
    """These formats have no checksum, but compressed data rarely end in many zeros."""
    zeros = len(data) - len(data.rstrip(b"\0")) if thorough else 0
    if zeros < _ZEROS_AT_THE_END:
        return raw
    return raw._replace(flaws=(("damaged", f"its last {zeros:,} bytes are zeros, as if it had been truncated"),))


_LOADERS: dict[str, Callable[[bytes, int, bool], Raw]] = {
    "JPEG": _load_jpeg,
    "PNG": _load_png,
    "WebP": _load_webp,
    "GIF": _load_gif,
    "BMP": _load_bmp,
    "TIFF": _load_tiff,
}
FORMATS = tuple(_LOADERS)
"""The supported formats."""
