"""Datasets of the Hugging Face `datasets` package as labeled images: files are decoded by breedclf, and only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, overload

from breedclf.data.adapters.class_labels import class_labels
from breedclf.data.layout.names import some_names
from breedclf.errors import ConfigError, DataError, ImageError

if TYPE_CHECKING:
    from breedclf.data.images import ImageLike
    from breedclf.data.labeled_images import LabeledImages


Name = TypeVar("Name")

_FILES = ("string", "large_string", "binary", "large_binary")


class HuggingFaceDataset(Protocol):
    """What is used of a `datasets.Dataset`; the package itself isn't imported."""

    @property
    def features(self) -> Mapping[str, object]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: int | slice) -> Mapping[str, object]: ...

    def with_format(self, type: None = None) -> HuggingFaceDataset: ...  # noqa: A002 - the package's name

    def select_columns(self, column_names: list[str]) -> HuggingFaceDataset: ...


@dataclass(frozen=True)
class HuggingFaceImages:
    """One column of images, read as bytes or paths, with the labels of another one."""

    rows: HuggingFaceDataset
    column: str
    labels: tuple[str, ...]
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> ImageLike:
        value: Any = self.rows[index][self.column]
        if isinstance(value, Mapping):
            value = value["path"] if value.get("bytes") is None else value["bytes"]
        if value is None:
            raise ImageError(f"row {index} has no image")
        return value if isinstance(value, bytes) else Path(value)

    def __repr__(self) -> str:
        return f"from_hugging_face({len(self)} images of {len(self.labels)} classes)"


@overload
def from_hugging_face(
    dataset: HuggingFaceDataset, *, image: str | None = None, label: str | None = None
) -> LabeledImages: ...


@overload
def from_hugging_face(
    dataset: Mapping[Name, HuggingFaceDataset], *, image: str | None = None, label: str | None = None
) -> dict[str, LabeledImages]: ...


def from_hugging_face(
    dataset: HuggingFaceDataset | Mapping[Name, HuggingFaceDataset],
    *,
    image: str | None = None,
    label: str | None = None,
) -> LabeledImages | dict[str, LabeledImages]:
    """A `datasets.Dataset` as labeled images, or each split of a `datasets.DatasetDict`.

    Files are read as they are stored and decoded by breedclf, so a format or transform of the dataset isn't applied.

    Args:
        dataset: a dataset that can be read at any row; not a streaming one.
        image: the column of images: an `Image` feature, or paths or bytes of files. Without it, the only `Image`.
        label: the column of labels: a `ClassLabel`, names or integers. Without it, the only `ClassLabel`, or `label`.

    Raises:
        ConfigError: a column doesn't exist, can't be used, or has to be chosen.
        DataError: the dataset is a streaming one or something else, has no rows, or has a row without a label.

    Example:
        >>> from datasets import load_dataset  # doctest: +SKIP
        >>> images = from_hugging_face(load_dataset("imagefolder", data_dir="dogImages"))  # doctest: +SKIP
        >>> Trainer(TrainingConfig(), images=images).fit()  # doctest: +SKIP
    """
    if isinstance(dataset, Mapping):
        return {str(name): _of_one(each, image, label, f"split {str(name)!r}: ") for name, each in dataset.items()}
    return _of_one(dataset, image, label, "")


def _of_one(dataset: HuggingFaceDataset, image: str | None, label: str | None, where: str) -> HuggingFaceImages:
    _check_kind(dataset, where)
    features = dataset.features
    image_column = _image_column(features, image)
    label_column = _label_column(features, label)
    if not len(dataset):
        raise DataError(f"{where}the dataset has no rows")
    plain = dataset.with_format(None)
    given = cast("Iterable[object]", plain.select_columns([label_column])[:][label_column])
    try:
        found = class_labels(given, getattr(features[label_column], "names", None))
    except DataError as error:
        raise DataError(f"{where}column {label_column!r}: {error}") from error
    rows = plain.select_columns([image_column])
    feature: Any = features[image_column]
    if _kind(feature) == "Image":
        rows = cast("Any", rows).cast_column(image_column, type(feature)(decode=False))
    return HuggingFaceImages(rows, image_column, found.names, found.targets)


def _check_kind(dataset: object, where: str) -> None:
    name = type(dataset).__name__
    if hasattr(dataset, "features") and not hasattr(type(dataset), "__len__"):
        raise DataError(
            f"{where}a streaming dataset ({name}) can't be read at any row, which shuffling and splitting need: load "
            "it without streaming=True, or save a part of it, list(dataset.take(1000)), and use Dataset.from_list"
        )
    if not (hasattr(dataset, "features") and hasattr(dataset, "select_columns")):
        raise DataError(
            f"{where}from_hugging_face takes a datasets.Dataset or DatasetDict, not {name}; for a torch dataset use "
            "from_torch_dataset, for arrays from_arrays"
        )


def _image_column(features: Mapping[str, object], chosen: str | None) -> str:
    if chosen is None:
        return _only(features, "Image", "image")
    _check_column(features, chosen, "image")
    if _kind(features[chosen]) == "Image" or _dtype(features[chosen]) in _FILES:
        return chosen
    raise ConfigError(
        f"image={chosen!r}: the column holds {features[chosen]}, not images: use an Image feature, or a column with "
        "the paths or bytes of files"
    )


def _label_column(features: Mapping[str, object], chosen: str | None) -> str:
    if chosen is None:
        has_classes = any(_kind(feature) == "ClassLabel" for feature in features.values())
        return "label" if "label" in features and not has_classes else _only(features, "ClassLabel", "label")
    _check_column(features, chosen, "label")
    return chosen


def _only(features: Mapping[str, object], kind: str, argument: str) -> str:
    """The only column of a kind.

    Raises:
        ConfigError: there is none, or several.
    """
    found = [name for name, feature in features.items() if _kind(feature) == kind]
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} columns are of the kind {kind} ({some_names(found)})"
    raise ConfigError(
        f"{several if found else f'no column is of the kind {kind}'}: choose one of the columns "
        f"{some_names(found or list(features))} with {argument}="
    )


def _check_column(features: Mapping[str, object], name: str, argument: str) -> None:
    if name not in features:
        raise ConfigError(f"{argument}={name!r}: the dataset has no such column; it has {some_names(list(features))}")


def _kind(feature: object) -> str:
    return type(feature).__name__


def _dtype(feature: object) -> str:
    return str(getattr(feature, "dtype", ""))
