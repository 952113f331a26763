"""The interface of images with labels from anywhere: anything with these five members can be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

from breedclf.data.digests import digest_of, unreadable
from breedclf.data.images import ImageLike
from breedclf.data.split import Split
from breedclf.errors import ImageError


@runtime_checkable
class LabeledImages(Protocol):
    """Images with a class each, numbered from 0, that stay the same while they are in use.

    `read` is called from several threads, and from DataLoader workers if the source can be pickled.

    Example:
        >>> import numpy as np
        >>> class Squares:
        ...     labels = ["dark", "light"]
        ...     targets = [0, 1, 0, 1]
        ...     def __len__(self):
        ...         return len(self.targets)
        ...     def read(self, index):
        ...         return np.full((64, 64), 200 * self.targets[index], np.uint8)
        >>> isinstance(Squares(), LabeledImages)
        True
    """

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes."""
        ...

    @property
    def targets(self) -> Sequence[int]:
        """The class of each image, an index into `labels`."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> ImageLike:
        """An image: its path, the bytes of its file, a PIL image, or a uint8 array [H, W] or [H, W, 3 or 4]."""
        ...


@runtime_checkable
class Named(Protocol):
    """A source that has names for its images."""

    def name_of(self, index: int) -> str:
        """The name of an image in errors and reports; of a file, its path."""
        ...


@dataclass(frozen=True)
class SourceImages:
    """The images of a source, called `image 0`, `image 1`, ... unless it names them itself."""

    source: LabeledImages

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> ImageLike:
        try:
            return self.source.read(index)
        except MemoryError:
            raise
        except Exception as error:  # code of the user's, which may raise anything
            reason = str(error) or type(error).__name__
            if index >= (count := len(self.source)):
                reason = f"it has only {count} images now, so it has changed"
            raise ImageError(f"image {index} can't be read from {type(self.source).__name__}: {reason}") from error

    def name(self, index: int) -> str:
        return self.source.name_of(index) if isinstance(self.source, Named) else f"image {index}"

    def file_or_digest(self, index: int) -> Path | bytes:
        try:
            image = self.read(index)
            return Path(image) if isinstance(image, (str, PathLike)) else digest_of(image)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - no image at all, or unreadable: reported where it is decoded
            return unreadable(f"image {index}")


def split_of(name: str, source: LabeledImages) -> Split:
    """A split of all images of a source."""
    return Split(name, SourceImages(source), tuple(map(int, source.targets)))
