"""Map-style torch datasets as labeled images; the files of torchvision's folders are decoded by breedclf."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from PIL import Image
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from breedclf.data.adapters.class_labels import ClassLabels, class_labels
from breedclf.data.adapters.pixels import as_image, checked_image
from breedclf.data.images import upright_rgb
from breedclf.errors import DataError, ImageError

if TYPE_CHECKING:
    from breedclf.data.images import ImageLike
    from breedclf.data.labeled_images import LabeledImages

T = TypeVar("T")

log: logging.Logger = logging.getLogger(__name__)

_FOLDERS = "torchvision.datasets.folder"


class TorchDataset(Protocol):
    """A map-style dataset: `dataset[i]` is an image with its target."""

    def __getitem__(self, index: Any, /) -> Any: ...


class DatasetImages:
    """The items of a dataset, one at a time: such datasets expect to be read by one thread of a process."""

    def __init__(self, dataset: Any, found: ClassLabels) -> None:
        self.labels: Sequence[str]
        self.targets: Sequence[int]
        self.labels, self.targets = found
        self._dataset = dataset
        self._lock: tuple[int, threading.Lock] = (0, threading.Lock())

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, index: int) -> ImageLike:
        with self._own_lock():
            return as_image(_pair(self._dataset[index], index)[0])

    def __getstate__(self) -> dict[str, Any]:  # a lock can't be pickled
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=(0, threading.Lock()))

    def __repr__(self) -> str:
        return f"from_torch_dataset({len(self)} images of {len(self.labels)} classes)"

    def _own_lock(self) -> threading.Lock:
        """The lock of this process: in a fork, that of the parent may be held by a thread that doesn't exist there."""
        if self._lock[0] != os.getpid():
            self._lock = (os.getpid(), threading.Lock())
        return self._lock[1]


class ImagePaths:
    """Image files with their classes."""

    def __init__(self, paths: Sequence[Path], found: ClassLabels) -> None:
        self.labels: Sequence[str]
        self.targets: Sequence[int]
        self.labels, self.targets = found
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> ImageLike:
        return self.paths[index]

    def name_of(self, index: int) -> str:
        return str(self.paths[index])

    def __repr__(self) -> str:
        return f"from_torch_dataset({len(self)} images of {len(self.labels)} classes)"


def from_torch_dataset(
    dataset: TorchDataset, *, targets: Iterable[object] | None = None, names: Sequence[str] | None = None
) -> LabeledImages:
    """A map-style torch dataset of (image, target) as labeled images; `Subset` and `ConcatDataset` work, too.

    Of torchvision's `ImageFolder` only the list of files is used: breedclf decodes them, and its transform isn't
    applied. Other datasets are read item by item, by one thread of a process at a time; `workers` share the work. They
    must return the same image each time, so without random transforms.

    Args:
        dataset: its images are PIL images, uint8 arrays [H, W, 3], uint8 tensors [3, H, W], paths or bytes of files.
        targets: the class of each item, integers or names. Without it, `dataset.targets` if there is such a list; or
            else all items are read once.
        names: the class names that integers stand for (default: `dataset.classes`).

    Raises:
        DataError: the dataset is iterable-style, has no length or no items, its images aren't uint8, or a target isn't
            one class.

    Example:
        >>> from torchvision.datasets import ImageFolder  # doctest: +SKIP
        >>> images = from_torch_dataset(ImageFolder("dogImages/train"))  # doctest: +SKIP
        >>> Trainer(TrainingConfig(), images=images).fit()  # doctest: +SKIP
    """
    count = _length(dataset)
    names = _class_names(dataset) if names is None else names
    given = _of_parts(dataset, _known_targets) if targets is None else list(targets)
    paths = _of_parts(dataset, _paths)
    if paths is None:
        _check_first_item(dataset)
    if given is None:
        given = _read_targets(dataset, count)
    if len(given) != count:
        raise DataError(f"the dataset has {count} items and {len(given)} targets: give one target per item")
    found = class_labels(given, names)
    if paths is not None:
        return ImagePaths(paths, found)
    return DatasetImages(dataset, found)


def _length(dataset: Any) -> int:
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset):
        raise DataError(
            f"{kind} is an iterable-style dataset, whose items can't be read in any order, which shuffling and "
            "splitting need: write a map-style one, with __getitem__ and __len__"
        )
    if hasattr(dataset, "select_columns"):
        raise DataError(f"{kind} is a Hugging Face dataset: use from_hugging_face")
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise DataError(f"{kind} isn't a map-style dataset: it needs __getitem__ and __len__")
    if count := len(dataset):
        return count
    raise DataError(f"{kind} has no items")


def _class_names(dataset: Any) -> Sequence[str] | None:
    """The names that a dataset, or what it is a part of, gives its classes; None if it doesn't."""
    if isinstance(dataset, Subset):
        return _class_names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        found = [_class_names(part) for part in dataset.datasets]
        if any(each != found[0] for each in found[1:]):
            raise DataError("the parts of a ConcatDataset have different classes: give names=[...] and targets=[...]")
        return found[0]
    classes = getattr(dataset, "classes", None)
    return list(classes) if isinstance(classes, (list, tuple)) else None


def _of_parts(dataset: Any, values_of: Callable[[Any], list[T] | None]) -> list[T] | None:
    """One value per item of a dataset, or of those that it is made of; None if one of them doesn't have them."""
    if isinstance(dataset, Subset):
        whole = _of_parts(dataset.dataset, values_of)
        return None if whole is None else [whole[index] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_of_parts(part, values_of) for part in dataset.datasets]
        return None if any(part is None for part in parts) else [each for part in parts for each in part or ()]
    return values_of(dataset)


def _known_targets(dataset: Any) -> list[object] | None:
    """The targets that a dataset has as a list, without reading its items; None if it has none."""
    targets = getattr(dataset, "targets", None)
    if getattr(targets, "ndim", 1) != 1 or not isinstance(targets, Iterable) or isinstance(targets, str):
        return None
    as_list = getattr(targets, "tolist", None)
    values = list(targets if as_list is None else as_list())
    transform = getattr(dataset, "target_transform", None)
    return values if transform is None else [transform(value) for value in values]


def _paths(dataset: Any) -> list[Path] | None:
    """The files of torchvision's `ImageFolder`, if it reads them as such; None for other datasets."""
    loader = getattr(dataset, "loader", None)
    modules = {getattr(code, "__module__", "") for code in (type(dataset).__getitem__, loader)}
    if modules != {_FOLDERS} or getattr(loader, "__name__", "") != "default_loader":
        return None
    if getattr(dataset, "transform", None) is not None:
        log.info("the transform of %s isn't applied: images are prepared as the network needs", type(dataset).__name__)
    return [Path(path) for path, _ in dataset.samples]


def _check_first_item(dataset: Any) -> None:
    """Read the first item twice: it must be an image, and the same one; an unreadable one is reported by training.

    Raises:
        DataError: it isn't an image.
    """
    kind = type(dataset).__name__
    try:
        items = [dataset[0] for _ in range(2)]
    except Exception as error:  # noqa: BLE001 - the dataset's own code may raise anything
        log.info("the first item of %s can't be read: %s", kind, error or type(error).__name__)
        return
    try:
        first, again = (checked_image(_pair(item, 0)[0]) for item in items)
    except ImageError as error:
        raise DataError(
            f"the first item of {kind}: {error}. breedclf prepares images itself: leave out such transforms"
        ) from error
    if not np.array_equal(_comparable(first), _comparable(again)):
        log.warning(
            "the first item of %s differs each time it is read: leave out random transforms, or nothing can be cached "
            "or resumed (augment=crop varies the images)",
            kind,
        )


def _comparable(image: ImageLike) -> Any:
    if isinstance(image, Image.Image):
        return np.asarray(upright_rgb(image))
    return image


def _read_targets(dataset: Any, count: int) -> list[object]:
    """The targets of all items, each read once.

    Raises:
        DataError: an item can't be read, or isn't a pair.
    """
    kind, started = type(dataset).__name__, time.perf_counter()
    log.info("reading the %d items of %s for their targets; targets=[...] makes that unnecessary", count, kind)
    found = []
    for index in range(count):
        try:
            found.append(_pair(dataset[index], index)[1])
        except Exception as error:  # the dataset's own code may raise anything
            raise DataError(
                f"item {index} of {kind} can't be read for its target: {error or type(error).__name__}; give "
                "targets=[...]"
            ) from error
    log.info("read %d targets in %.1f s", count, time.perf_counter() - started)
    return found


def _pair(item: Any, index: int) -> tuple[Any, Any]:
    """The image and the target of an item.

    Raises:
        ImageError: it is something else.
    """
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return item[0], item[1]
    raise ImageError(f"item {index} is {type(item).__name__}, not a pair of an image and its target")
