"""Write labeled images as an image folder, which the command line, jobs and SageMaker read."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from breedclf.config import OnBadImage
from breedclf.data.given_images import CheckedImages, checked_splits
from breedclf.data.images import as_path, image_from_array, read_file, sniff_format, upright_rgb
from breedclf.data.layout import UNDIVIDED, layout_of
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import some_names
from breedclf.errors import ConfigError, DataError, ImageError
from breedclf.files.disk import writing
from breedclf.files.paths import user_path

if TYPE_CHECKING:
    from breedclf.data.images import ImageLike
    from breedclf.data.labeled_images import LabeledImages

log: logging.Logger = logging.getLogger(__name__)

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_LONGEST_NAME_BYTES = 255


class ImageFile(NamedTuple):
    """The bytes of an image file, and the suffix of its format."""

    data: bytes
    suffix: str


def write_image_folder(
    images: LabeledImages | Mapping[str, LabeledImages],
    folder: str | os.PathLike[str],
    *,
    on_bad_image: OnBadImage = "error",
) -> Path:
    """Write images into class folders, or into a folder per split with class folders; returns the folder.

    Files are copied byte by byte, arrays and PIL images are written as PNG, which keeps their pixels. The folder
    appears when it is complete; if an error is raised, nothing is left behind.

    Args:
        images: labeled images, or the labeled images of each split.
        folder: where to write; it must not exist yet, or be empty.
        on_bad_image: `error` stops at an image that can't be read, `skip` leaves it out.

    Raises:
        ConfigError: the folder contains something.
        DataError: a class name can't be the name of a folder, or an image can't be read.
        DiskError: the disk refuses.

    Example:
        >>> import tempfile
        >>> from breedclf import from_arrays
        >>> images = from_arrays(np.zeros((2, 8, 8, 3), np.uint8), ["ant", "bee"])
        >>> folder = write_image_folder(images, tempfile.mkdtemp())
        >>> sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
        ['ant/0.png', 'bee/1.png']
    """
    target = user_path(folder, "folder")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"folder={str(target)!r} exists already and isn't an empty folder: choose another one")
    parts = {"" if name == UNDIVIDED else name: part for name, part in checked_splits(images).items()}
    for part in parts.values():
        check_labels(part.labels)
    with writing(target), complete_folder(target) as temporary:
        skipped = [reason for name, part in parts.items() for reason in _written(part, temporary / name, on_bad_image)]
        _check_layout(temporary, parts)
    if skipped:
        log.warning("%d images were left out: %s", len(skipped), "; ".join(skipped[:3]))
    return target


def image_file(image: ImageLike) -> ImageFile:
    """An image as a file: a file's bytes as they are, pixels as PNG.

    Raises:
        ImageError: it can't be read, or is no image.
    """
    if isinstance(image, Image.Image):
        profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
        return _png(upright_rgb(image), profile)
    if isinstance(image, np.ndarray):
        return _png(image_from_array(image), None)
    data = bytes(image) if isinstance(image, (bytes, bytearray)) else read_file(as_path(os.fspath(image)))
    format_name = sniff_format(data)
    if format_name is None:
        raise ImageError(f"it is none of {', '.join(_SUFFIXES)} (it starts with {data[:12]!r})")
    return ImageFile(data, _SUFFIXES[format_name])


def _png(image: Image.Image, profile: bytes | None) -> ImageFile:
    file = BytesIO()
    image.save(file, "PNG", compress_level=1, icc_profile=profile)
    return ImageFile(file.getvalue(), ".png")


def _written(images: CheckedImages, folder: Path, on_bad_image: OnBadImage) -> list[str]:
    """Write one split; returns the reasons of images that were left out."""
    skipped: list[str] = []
    digits = len(str(len(images.targets) - 1))
    for index, target in enumerate(images.targets):
        try:
            file = image_file(images.source.read(index))
        except Exception as error:
            reason = f"image {index} can't be read: {error or type(error).__name__}"
            if on_bad_image == "error":
                raise DataError(reason) from error
            skipped.append(reason)
            continue
        home = folder / images.labels[target]
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{index:0{digits}}{file.suffix}").write_bytes(file.data)
    return skipped


@contextmanager
def complete_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, which becomes it at the end; it is removed if the block raises."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_labels(labels: Iterable[str]) -> None:
    """Check that class names can be names of folders.

    Raises:
        DataError: one can't.
    """
    for label in labels:
        size = len(label.encode(errors="surrogateescape"))
        if "/" in label or "\0" in label or label in (".", "..") or size > _LONGEST_NAME_BYTES:
            raise DataError(f"the class name {label!r} can't be the name of a folder: rename the class")


def _check_layout(folder: Path, parts: Mapping[str, CheckedImages]) -> None:
    """Check that the folder is read as it was meant: a class called `test`, for example, would be taken for a split.

    Raises:
        DataError: it isn't.
    """
    layout = layout_of(list_folder(folder))
    for name, part in parts.items():
        meant = {part.labels[target] for target in set(part.targets)}
        if lost := sorted(meant - set(layout.labels_with_images(name or UNDIVIDED))):
            raise DataError(
                f"the class names {some_names(lost)} would be read as something else, since they are called like a "
                "split, a system folder or a hidden one: rename these classes"
            )
