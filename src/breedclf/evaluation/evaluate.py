"""Measure a model folder on a split of pictures, through its own preprocessing, and write down the outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import torch

from breedclf._version import __version__
from breedclf.config import Device, OnBadImage, Precision
from breedclf.data.image_folder import Split, as_split, canonical_split, images_by_split, tell
from breedclf.data.image_source import ImageFiles
from breedclf.data.images import open_image
from breedclf.data.layout import layout_of, set_aside_line
from breedclf.data.layout.disk import list_folder
from breedclf.data.layout.names import some_names
from breedclf.errors import ConfigError, DataError
from breedclf.evaluation.metrics import Evaluation, measure
from breedclf.evaluation.report import Provenance, evaluation_page
from breedclf.features.extraction import FeatureExtractor
from breedclf.files.disk import deliver
from breedclf.files.paths import user_path
from breedclf.inference.classifier import Classifier, numbers
from breedclf.text.printable import storable
from breedclf.training.output_folder import own_output

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
ALL = "all"
_THUMBNAIL_PX = 240
_DIVISION = {"valid_share": 0.15, "test_share": 0.15, "split_seed": 0}


def evaluate(
    artifact: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    output: str | Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    on_bad_image: OnBadImage = "error",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Evaluation:
    """Measure a model on pictures and write metrics.json and report.html.

    Args:
        artifact: the model folder; which classes there are, and in which order, comes from it alone.
        data: a folder with a folder for the split (`test/CLASS/...`), or of class folders, which is then divided as
            the model's training divides such a folder; the model's classes decide where a name may be both.
        split: train, valid, test, or `all` for every picture of `data`.
        output: folder for the two files; `evaluation-SPLIT` beside the model when None.
        device: where to compute.
        precision: `auto` takes bf16 where the hardware has it.
        batch_size: pictures per pass through the network.
        workers: processes that decode pictures; chosen for this machine when None.
        on_bad_image: `error` stops at an unreadable picture, `skip` leaves it out and names it in `skipped`.
        clock: the time that the report names.

    Returns:
        The figures; `report` is the path of the page.

    Raises:
        ArtifactError: the model folder is missing, damaged, foreign or newer than this breedclf, or answers NaN.
        DataError: the split is missing or empty, or has a class that the model doesn't know.
        ImageError: a picture can't be read and `on_bad_image` is `error`.
        ConfigError: the output can't be written.
        DiskError: the disk is full.

    Example:
        >>> evaluate("runs/train/model", "dogImages").accuracy  # doctest: +SKIP
        0.94
    """
    artifact, data = user_path(artifact, "model"), user_path(data, "data")
    output = None if output is None else user_path(output, "output")
    classifier = Classifier(artifact, device=device, precision=precision, batch_size=batch_size)
    pictures = images_to_evaluate(data, split, classifier.card.labels, classifier.card.training)
    folder = own_output(_beside(artifact) / f"evaluation-{pictures.name}" if output is None else output)
    result = _measure(classifier, pictures, data, workers, on_bad_image)
    provenance = Provenance(
        model=storable(str(artifact)),
        data=storable(str(data)),
        card=classifier.card,
        device=classifier.compute.device.type,
        precision=classifier.compute.precision,
    )
    originals = {_told_path(path, data): path for path in pictures.paths}
    page = evaluation_page(
        result,
        provenance,
        thumbnails=[_thumbnail(originals[Path(wrong.path)]) for wrong in result.worst],
        made_by=f"breedclf {__version__}",
        made_at=clock(),
    )
    _write(folder / METRICS_FILE, result.model_dump_json(indent=2, exclude={"report"}) + "\n")
    _write(folder / REPORT_FILE, page)
    return result.model_copy(update={"report": str(folder / REPORT_FILE)})


def images_to_evaluate(data: Path, split: str, labels: Sequence[str], training: dict[str, object]) -> Split:
    """The pictures of a split with their targets, by the model's labels.

    `training` are the model's settings: a folder without splits is divided by their shares and seed.

    Raises:
        ConfigError: there is no such split.
        DataError: the folder or the split is missing or empty, or a class with pictures is not among `labels`.
    """
    name = canonical_split(split)
    if name not in ("train", "valid", "test", ALL):
        raise ConfigError(f"split={split!r}: use train, valid, test or all")
    layout = layout_of(list_folder(data), labels=labels)
    if layout.refusal:
        raise DataError(f"{data}: {layout.refusal.detail}")
    tell(data, layout)
    division = {key: training.get(key, default) for key, default in _DIVISION.items()}
    by_split = images_by_split(data, layout, **division)  # type: ignore[arg-type]
    if not layout.divided and name != ALL:
        log.info(
            "%s has no split folders: its %s share is taken, as training divides it; --split all takes every picture",
            data,
            name,
        )
    if name == ALL:
        by_split[ALL] = _merged(by_split.values())
    chosen = {label: paths for label, paths in by_split.get(name, {}).items() if paths}
    if not chosen:
        have = ", ".join(found for found, classes in by_split.items() if found != ALL and any(classes.values()))
        raise DataError(
            f"{data} has no pictures for the split {split!r}; splits with pictures: {have or 'none'} "
            f"(expected: SPLIT/CLASS/picture.jpg){_and(set_aside_line(layout))}"
        )
    if strangers := [label for label in chosen if label not in labels]:
        raise DataError(
            f"the {name} pictures of {data} show classes that the model doesn't know: "
            f"{some_names(strangers)}. It knows {some_names(labels)}{_and(layout.hint)}"
        )
    return as_split(name, labels, chosen)


def _and(more: str) -> str:
    return f"; {more}" if more else ""


def _measure(
    classifier: Classifier, pictures: Split, data: Path, workers: int | None, on_bad_image: OnBadImage
) -> Evaluation:
    # The whole network in place of the frozen part: its "features" are the scores.
    extractor = FeatureExtractor(
        make_backbone=lambda: classifier.network,
        preprocessing=classifier.card.preprocessing,
        compute=classifier.compute,
        weights_fingerprint=classifier.card.weights_sha256,
        chunk_size=classifier.batch_size,
        workers=workers,
        stop_at_bad=on_bad_image == "error",
    )
    scores = extractor.extract(ImageFiles(pictures.paths), title=f"evaluating {pictures.name}")
    skipped = scores.left_out(on_bad_image)
    kept = scores.kept.tolist()
    return measure(
        numbers(torch.softmax(scores.values.double(), dim=1)).numpy(),
        torch.tensor(pictures.targets)[scores.kept].numpy(),
        classifier.card.labels,
        [_told_path(pictures.paths[position], data) for position in kept],
        class_names=classifier.card.class_names,
        split=pictures.name,
        skipped=skipped,
    )


def _told_path(path: Path, data: Path) -> Path:
    """How a report names a picture: below the folder, and as text whatever bytes its name holds."""
    return Path(storable(str(path.relative_to(data))))


def _merged(splits: Iterable[Mapping[str, Sequence[Path]]]) -> dict[str, list[Path]]:
    merged: dict[str, list[Path]] = {}
    for by_label in splits:
        for label, paths in by_label.items():
            merged.setdefault(label, []).extend(paths)
    return {label: sorted(paths) for label, paths in merged.items()}


def _thumbnail(path: Path) -> bytes:
    """The picture as a small JPEG."""
    picture = open_image(path, color="srgb")
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = BytesIO()
    picture.save(file, "JPEG", quality=75, optimize=True)
    return file.getvalue()


def _beside(artifact: Path) -> Path:
    """The folder that holds the model folder, spelt as the model's path was."""
    return artifact.parent if artifact.name not in ("", "..") else artifact.resolve().parent


def _write(path: Path, text: str) -> None:
    deliver(path, text, "make room, or choose another --output")
