"""Evaluate a model on a split of a dataset, and write metrics.json and an HTML report."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from breedclf._version import __version__
from breedclf.config import Device, OnBadImage, Precision
from breedclf.config.aliases import accept_old_keywords
from breedclf.config.evaluation import PredictionConfig
from breedclf.data.dataset import canonical_split
from breedclf.data.given_images import GivenImages, kind_of, split_to_evaluate
from breedclf.data.image_folder import as_split, images_by_split, log_set_aside
from breedclf.data.images import pillow_image
from breedclf.data.labeled_images import LabeledImages
from breedclf.data.layout import layout_of, set_aside_line
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import some_names
from breedclf.data.split import Split
from breedclf.data.tables.dataset import table_to_evaluate
from breedclf.data.tables.places import TablePlace, place_of
from breedclf.errors import ConfigError, DataError
from breedclf.evaluation.metrics import Evaluation, UsedFeatures, measure
from breedclf.evaluation.report import Provenance, evaluation_page
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.classifier import check_finite
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.scoring import VIEW_NAMES, Scoring
from breedclf.text.printable import storable
from breedclf.training.results.output_folder import own_output

log: logging.Logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
ALL = "all"
_THUMBNAIL_PX = 240
_DIVISION = {"valid_share": 0.15, "test_share": 0.15, "split_seed": 0}


@accept_old_keywords
def evaluate(
    model: StrPath,
    data: StrPath | LabeledImages | Mapping[str, LabeledImages],
    *,
    split: str = "test",
    labels: StrPath | None = None,
    output: StrPath | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    on_bad_image: OnBadImage = "error",
    tta: bool = False,
    feature_cache: bool = True,
    feature_store: StrPath | None = None,
    verify_files: bool = False,
    cache_dir: StrPath | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Evaluation:
    """Evaluate a model on images, and write metrics.json and report.html.

    Features of images that training or an earlier evaluation stored are reused, with the same metrics to the bit.

    Args:
        model: the model directory; it alone defines the classes and their order.
        data: a dataset folder, a table, or labeled images, alone or by split. If it has no splits, it is divided as
            training would divide it. If a folder may be a split or a class, the model's classes decide.
        split: train, valid, test, or `all` for every image of `data`.
        labels: a table of the labels, if `data` is a folder without class folders.
        output: folder of the two files (default: `evaluation-SPLIT` next to the model).
        device: where to compute; `auto` uses a GPU if there is one.
        precision: `auto` uses bf16 if the hardware is faster in it.
        batch_size: number of images per pass through the network; with that of training, whose default is its
            `chunk_size`, training's features are reused.
        workers: number of DataLoader workers (default: chosen for this machine).
        on_bad_image: `error` stops at an unreadable image, `skip` leaves it out and lists it in `skipped`.
        tta: test-time augmentation: average the probabilities of each image and its mirror image, in two passes.
        feature_cache: reuse stored features of images, and store those that are computed.
        feature_store: where features are stored: a folder (default: below the cache folder).
        verify_files: read all image files again; by default those with the same path, size, times and inode aren't.
        cache_dir: folder of the caches (default: that of `BREEDCLF_CACHE_DIR`, or the platform's).
        clock: returns the time that the report shows.

    Returns:
        The metrics; `report` is the path of the HTML report, and `features` counts the images that passed through the
        backbone, and those whose features were stored.

    Raises:
        ArtifactError: the model directory is missing, damaged, not written by breedclf, or newer than this version, or
            its probabilities contain NaN.
        DataError: the split is missing or empty, or has a class that the model doesn't have.
        ImageError: an image can't be read and `on_bad_image` is `error`.
        ConfigError: a setting is invalid, or the output can't be written.
        DiskError: the disk is full.

    Example:
        >>> evaluate("runs/train/model", "dogImages").accuracy  # doctest: +SKIP
        0.94
    """
    artifact = user_path(model, "model")
    output = None if output is None else user_path(output, "output")
    reuse = PredictionConfig(
        tta=tta,
        feature_cache=feature_cache,
        feature_store=feature_store,
        verify_files=verify_files,
        cache_dir=cache_dir,
    )
    origin = _origin(data, labels)
    scoring = Scoring.read(
        artifact,
        reuse,
        tta=reuse.tta,
        device=device,
        precision=precision,
        chunk_size=batch_size,
        workers=workers,
        stop_at_bad=on_bad_image == "error",
    )
    card = scoring.model.card
    images = origin.images(split, card, on_bad_image)
    folder = own_output(_beside(artifact) / f"evaluation-{images.name}" if output is None else output)
    result = _measure(scoring, images, origin.root, on_bad_image)
    provenance = Provenance(
        model=storable(str(artifact)),
        data=storable(origin.shown),
        card=card,
        device=scoring.features.compute.device.type,
        precision=scoring.features.compute.precision,
    )
    originals = {_shown_name(images.images.name(index), origin.root): index for index in range(len(images))}
    page = evaluation_page(
        result,
        provenance,
        thumbnails=[_thumbnail(images, originals[Path(wrong.path)]) for wrong in result.worst],
        made_by=f"breedclf {__version__}",
        made_at=clock(),
    )
    _write(folder / METRICS_FILE, result.model_dump_json(indent=2, exclude={"report", "features"}) + "\n")
    _write(folder / REPORT_FILE, page)
    return result.model_copy(update={"report": str(folder / REPORT_FILE)})


@dataclass(frozen=True)
class _Files:
    """Images of a folder, or of the table at `place`; `root` is where the shown paths start."""

    data: Path
    place: TablePlace | None

    @property
    def root(self) -> Path:
        return self.data if self.place is None else self.place.root

    @property
    def shown(self) -> str:
        return str(self.data)

    def images(self, split: str, card: ModelCard, on_bad_image: OnBadImage) -> Split:
        skip = on_bad_image == "skip"
        return images_to_evaluate(self.data, split, card.labels, card.training, self.place, skip_missing=skip)


@dataclass(frozen=True)
class _Given:
    """Labeled images of the program."""

    given: GivenImages
    root: Path = Path()

    @property
    def shown(self) -> str:
        return kind_of(self.given)

    def images(self, split: str, card: ModelCard, _on_bad_image: OnBadImage) -> Split:
        return split_to_evaluate(self.given, _split_name(split), card.labels, **_division_of(card.training))


def _origin(data: StrPath | GivenImages, labels: StrPath | None) -> _Files | _Given:
    if not isinstance(data, (str, os.PathLike)):
        if labels is not None:
            raise ConfigError(f"labels={str(labels)!r} is a table for the images of a folder, not for labeled images")
        return _Given(data)
    folder = user_path(data, "data")
    return _Files(folder, place_of(folder, None if labels is None else user_path(labels, "labels")))


def images_to_evaluate(
    data: Path,
    split: str,
    labels: Sequence[str],
    training: Mapping[str, object],
    place: TablePlace | None = None,
    *,
    skip_missing: bool = False,
) -> Split:
    """The images of a split of a folder, or of the table at `place`, with targets by the model's labels.

    `training` are the model's training settings: a dataset without splits is divided by their shares and seed.

    Raises:
        ConfigError: there is no such split.
        DataError: the folder or the split is missing or empty, or a class with images isn't among `labels`.
    """
    name, division = _split_name(split), _division_of(training)
    if place is not None:
        return table_to_evaluate(place, name, labels, **division, skip_missing=skip_missing)
    layout = layout_of(list_folder(data), labels=labels)
    if layout.refusal:
        raise DataError(f"{data}: {layout.refusal.detail}")
    log_set_aside(data, layout)
    by_split = images_by_split(data, layout, **division)
    if not layout.divided and name != ALL:
        log.info(
            "%s has no split folders: using its %s share, divided as in training; --split all uses every image",
            data,
            name,
        )
    if name == ALL:
        by_split[ALL] = _merged(by_split.values())
    by_label = {label: paths for label, paths in by_split.get(name, {}).items() if paths}
    if not by_label:
        have = ", ".join(found for found, classes in by_split.items() if found != ALL and any(classes.values()))
        raise DataError(
            f"{data} has no images for the split {split!r}; splits with images: {have or 'none'} "
            f"(expected: SPLIT/CLASS/image.jpg){_and(set_aside_line(layout))}"
        )
    if strangers := [label for label in by_label if label not in labels]:
        raise DataError(
            f"the {name} images of {data} have classes that the model doesn't have: "
            f"{some_names(strangers)}; its classes are {some_names(labels)}{_and(layout.hint)}"
        )
    return as_split(name, labels, by_label)


def _split_name(split: str) -> str:
    """The canonical name of a split.

    Raises:
        ConfigError: there is no such split.
    """
    name = canonical_split(split)
    if name not in ("train", "valid", "test", ALL):
        raise ConfigError(f"split={split!r}: use train, valid, test or all")
    return name


def _division_of(training: Mapping[str, object]) -> dict[str, Any]:
    """The shares and the seed by which a dataset without splits was divided for training."""
    return {key: training.get(key, default) for key, default in _DIVISION.items()}


def _and(more: str) -> str:
    return f"; {more}" if more else ""


def _measure(scoring: Scoring, images: Split, data: Path, on_bad_image: OnBadImage) -> Evaluation:
    found, counts = scoring.probabilities(images.images, f"evaluating {images.name}")
    skipped = found.left_out(on_bad_image)
    card = scoring.model.card
    result = measure(
        check_finite(found.values).numpy(),
        torch.tensor(images.targets)[found.kept].numpy(),
        card.labels,
        [_shown_name(images.images.name(position), data) for position in found.kept.tolist()],
        class_names=card.class_names,
        split=images.name,
        skipped=skipped,
    )
    views = tuple(VIEW_NAMES[view] for view in scoring.views)
    return result.model_copy(update={"views": views, "features": UsedFeatures(**asdict(counts))})


def _shown_name(name: str, data: Path) -> Path:
    """The name of an image in the report: relative to the dataset, with undecodable bytes escaped."""
    path = Path(name)
    return Path(storable(str(path.relative_to(data) if path.is_relative_to(data) else path)))


def _merged(splits: Iterable[Mapping[str, Sequence[Path]]]) -> dict[str, list[Path]]:
    merged: dict[str, list[Path]] = {}
    for by_label in splits:
        for label, paths in by_label.items():
            merged.setdefault(label, []).extend(paths)
    return {label: sorted(paths) for label, paths in merged.items()}


def _thumbnail(split: Split, index: int) -> bytes:
    """A small JPEG of an image."""
    image = pillow_image(split.images.read(index), split.images.name(index), color="srgb").copy()
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = BytesIO()
    image.save(file, "JPEG", quality=75, optimize=True)
    return file.getvalue()


def _beside(artifact: Path) -> Path:
    """The parent of the model directory, relative if the given path is."""
    return artifact.parent if artifact.name not in ("", "..") else artifact.resolve().parent


def _write(path: Path, text: str) -> None:
    write_output(path, text, "make room, or choose another --output")
