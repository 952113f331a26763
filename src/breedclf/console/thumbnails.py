"""Small images in pages: embedded, so that a page needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from breedclf.errors import ImageError
from breedclf.overview.dataset_images import DatasetImages

_MAX_REASON = 120


@dataclass(frozen=True)
class Thumbnail:
    """An image of a dataset by its path in it, and the lines below it."""

    path: str
    lines: Sequence[str] = ()


def thumbnails(images: DatasetImages, root: str, shown: Iterable[Thumbnail]) -> Markup:
    """Images side by side; one that can't be read is replaced by the reason."""
    return Markup('<div class="group">{}</div>').format(Markup("").join(figure(images, root, each) for each in shown))


def figure(images: DatasetImages, root: str, shown: Thumbnail) -> Markup:
    """One image with the lines below it."""
    lines = Markup("<br>").join(shown.lines)
    return Markup('<figure class="thumb">{}<figcaption>{}</figcaption></figure>').format(
        picture(images, root, shown.path), lines
    )


def picture(images: DatasetImages, root: str, path: str) -> Markup:
    """An image as an element; the reason in its place if it can't be read."""
    try:
        jpeg = images.thumbnail(root, path)
    except ImageError as error:
        text = str(error)
        return Markup('<div class="no-thumb" role="img" aria-label="{}">{}</div>').format(
            f"no preview of {path}", text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"
        )
    data = base64.b64encode(jpeg).decode("ascii")
    return Markup('<img src="data:image/jpeg;base64,{}" alt="{}" width="160" height="160">').format(data, path)
