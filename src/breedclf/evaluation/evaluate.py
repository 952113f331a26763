"""Evaluate a model on a split of a dataset, and write metrics.json and an HTML report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from breedclf._version import __version__
from breedclf.config import Device, OnBadImage, Precision
from breedclf.config.aliases import accept_old_keywords
from breedclf.config.evaluation import PredictionConfig
from breedclf.data.labeled_images import LabeledImages
from breedclf.evaluation.images import origin_of, unlike_images
from breedclf.evaluation.maps import report_maps
from breedclf.evaluation.measuring import check_answers, measured
from breedclf.evaluation.metrics import Evaluation
from breedclf.evaluation.report import Provenance, evaluation_page
from breedclf.evaluation.thumbnails import Thumbnails
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.readme.measured import dataset_name
from breedclf.inference.scoring import Scoring
from breedclf.text.printable import storable
from breedclf.training.results.output_folder import own_output

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"


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
    unlike: StrPath | LabeledImages | None = None,
    coverage: float | None = None,
    explain: bool = True,
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
        unlike: images that are none of the model's classes: a folder with images in any nesting, a table, or labeled
            images, whose labels don't matter. `Evaluation.unlike` says how many of them are answered as known.
        coverage: measure prediction sets that are to contain the right class in this share of images, between 0 and 1.
        explain: show maps of the worst images in the report; up to 36 images pass through the network again.
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
        ConfigError: a setting is invalid, the model has no feature bank for `unlike` or too few validation images for
            `coverage`, or the output can't be written.
        DiskError: the disk is full.

    Example:
        >>> evaluate("runs/train/model", "dogImages").accuracy  # doctest: +SKIP
        0.94
    """
    artifact = user_path(model, "model")
    output = None if output is None else user_path(output, "output")
    unlike = user_path(unlike, "unlike") if isinstance(unlike, (str, os.PathLike)) else unlike
    reuse = PredictionConfig(
        tta=tta,
        coverage=coverage,
        feature_cache=feature_cache,
        feature_store=feature_store,
        verify_files=verify_files,
        cache_dir=cache_dir,
    )
    origin = origin_of(data, labels)
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
    check_answers(card, artifact, reuse.coverage, wants_unlike=unlike is not None)
    images = origin.images(split, card, on_bad_image)
    others = None if unlike is None else unlike_images(unlike, on_bad_image)
    folder = own_output(_beside(artifact) / f"evaluation-{images.name}" if output is None else output)
    result = measured(scoring, images, origin.root, on_bad_image, others, reuse.coverage).model_copy(
        update={"weights_sha256": card.weights_sha256, "data": dataset_name(origin.shown)}
    )
    provenance = Provenance(
        model=storable(str(artifact)),
        data=storable(origin.shown),
        card=card,
        device=scoring.features.compute.device.type,
        precision=scoring.features.compute.precision,
    )
    thumbnails = Thumbnails(images.images, origin.root)
    page = evaluation_page(
        result,
        provenance,
        thumbnails=thumbnails.of([wrong.path for wrong in result.worst]),
        refused=thumbnails.of([each.path for each in result.refused.farthest]) if result.refused else (),
        maps=report_maps(artifact, images.images, origin.root, result, device=device, precision=precision)
        if explain
        else None,
        let_through=Thumbnails(others.images, others.root).of([each.path for each in result.unlike.nearest])
        if others and result.unlike
        else (),
        made_by=f"breedclf {__version__}",
        made_at=clock(),
    )
    _write(folder / METRICS_FILE, result.model_dump_json(indent=2, exclude={"report", "features"}) + "\n")
    _write(folder / REPORT_FILE, page)
    return result.model_copy(update={"report": str(folder / REPORT_FILE)})


def _beside(artifact: Path) -> Path:
    """The parent of the model directory, relative if the given path is."""
    return artifact.parent if artifact.name not in ("", "..") else artifact.resolve().parent


def _write(path: Path, text: str) -> None:
    write_output(path, text, "make room, or choose another --output")
