"""The HTML report of an evaluation: a verdict, metrics by class, confusions, the worst images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from markupsafe import Markup

from breedclf.evaluation import trust_report
from breedclf.evaluation.maps import ReportMaps
from breedclf.evaluation.maps_report import worst_images
from breedclf.evaluation.metrics import ClassResult, Evaluation
from breedclf.evaluation.result import wilson_interval
from breedclf.inference.model_directory import ModelCard
from breedclf.models.backbones.record import BackboneRecord
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import (
    Column,
    Tile,
    Tone,
    bullets,
    callout,
    details,
    facts,
    table,
    tiles,
)
from breedclf.reporting.charts import Bar, bar_chart, heat_map
from breedclf.reporting.formats import percent, plain, whole

_ROWS_IN_VIEW = 30
_BARS = 25
_FEW_IMAGES = 10
_SMALL_MATRIX = 8
_SKIPPED_SHOWN = 50


@dataclass(frozen=True)
class Provenance:
    """Which model was evaluated on which dataset, and how."""

    model: str
    data: str
    card: ModelCard
    device: str
    precision: str


def evaluation_page(
    result: Evaluation,
    provenance: Provenance,
    *,
    thumbnails: Sequence[bytes] = (),
    refused: Sequence[bytes] = (),
    let_through: Sequence[bytes] = (),
    maps: ReportMaps | None = None,
    made_by: str = "breedclf",
    made_at: datetime | None = None,
) -> str:
    """Render the report.

    Args:
        result: the metrics.
        provenance: the model and dataset.
        thumbnails: a small JPEG for each image of `result.worst`.
        refused: the same for each image of `result.refused.farthest`.
        let_through: the same for each image of `result.unlike.nearest`.
        maps: the maps of `result.worst`, and where the evidence is; None if there are none.
        made_by: the program and version in the footer.
        made_at: the time in the footer.
    """
    tone, heading, sentences = verdict(result)
    return render_page(
        f"{percent(result.accuracy)} correct on the {result.split} images",
        [
            _interpretation(result),
            _by_class(result),
            _confusions(result),
            worst_images(result, thumbnails, maps),
            trust_report.none_of_these(result, provenance.card, refused, let_through),
            _confidence(result, provenance.card.min_confidence),
            trust_report.calibration(result, provenance.card),
            trust_report.prediction_sets(result),
            _provenance(result, provenance),
        ],
        subtitle=f"Evaluation of {provenance.model} on {provenance.data}",
        summary=[callout(tone, heading, *sentences), tiles(_headline(result))],
        made_by=made_by,
        made_at=made_at,
    )


def verdict(result: Evaluation) -> tuple[Tone, str, list[str]]:
    """The result in words: a tone, a heading and sentences."""
    low, high = result.accuracy_interval
    correct = round(result.accuracy * result.count)
    heading = f"{whole(correct)} of {_images(result.count)} classified correctly: {percent(result.accuracy)}."
    interval = (
        f"The accuracy on images of this kind is between {percent(low)} and {percent(high)} "
        "(95% confidence, Wilson interval)."
    )
    baseline = f"always predicting the most frequent class, which is correct for {percent(result.majority_share)}"
    if low > result.majority_share:
        return "ok", heading, [interval, f"That is clearly better than {baseline}."]
    if high < result.majority_share:
        return "bad", heading, [interval, f"That is worse than {baseline}."]
    return "issue", heading, [interval, f"With so few images, this can't be distinguished from {baseline}."]


def averaged_views(result: Evaluation) -> str:
    """What test-time augmentation did, in words; empty without it."""
    if len(result.views) == 1:
        return ""
    return f"probabilities are the mean over {' and '.join(result.views)}: {len(result.views)} passes per image"


def _headline(result: Evaluation) -> Iterator[Tile]:
    low, high = result.accuracy_interval
    correct = round(result.accuracy * result.count)
    yield Tile("Accuracy", percent(result.accuracy), f"{whole(correct)} of {_images(result.count)}")
    yield Tile("95% interval", f"{percent(low)} – {percent(high)}", "of the true accuracy")
    if len(result.labels) > 5:
        yield Tile("Top-5 accuracy", percent(result.top5_accuracy), "true class among the first five")
    yield Tile("Loss", plain(result.loss), "mean cross-entropy; lower is better")
    yield Tile("Macro F1", percent(result.macro_average.f1), "all classes have equal weight")
    if result.skipped:
        yield Tile("Skipped", whole(len(result.skipped)), "unreadable images", "issue")


def _interpretation(result: Evaluation) -> Section:
    low, high = result.accuracy_interval
    few = [one for one in result.per_class if 0 < one.support < _FEW_IMAGES]
    absent = [one for one in result.per_class if not one.support]
    points = [
        f"With {_images(result.count)}, one image more or less moves the accuracy by "
        f"{_points(1 / result.count)}, and the interval is {_points(high - low)} wide. "
        "An interval half as wide needs about four times as many images.",
        "Compare models on the same images. If their intervals don't overlap, the models differ; if they "
        "overlap, the difference may be chance.",
        "The interval covers the random choice of images, not images of another kind: photos "
        "from another camera or place need their own evaluation.",
    ]
    if few:
        points.append(
            f"{_classes(len(few))} {'has' if len(few) == 1 else 'have'} fewer than {_FEW_IMAGES} images: "
            "metrics of such a class are uncertain."
        )
    if absent:
        names = ", ".join(one.class_name for one in absent[:10]) + (" and more" if len(absent) > 10 else "")
        points.append(f"{_classes(len(absent))} of the model {_has_have(len(absent))} no images here: {names}.")
    return Section("How to read these metrics", [bullets(points)])


def _by_class(result: Evaluation) -> Section:
    present = sorted((one for one in result.per_class if one.support), key=_recall_first)
    bars = [
        Bar(one.class_name, one.recall or 0.0, *wilson_interval(_hits(one), one.support), note=f"of {one.support}")
        for one in present
    ]
    columns: list[Column | str] = [
        "Class", Column("Precision", True, percent), Column("Recall", True, percent),
        Column("F1", True, percent), Column("Images", True, whole), Column("Predicted", True, whole), "Folder",
    ]  # fmt: skip
    rows: list[tuple[object, ...]] = [
        (one.class_name, one.precision, one.recall, one.f1, one.support, one.predicted, one.label)
        for one in (*present, *(one for one in result.per_class if not one.support))
    ]
    mean = result.macro_average
    average = Markup("<strong>Macro average</strong>")
    rows.append((average, mean.precision, mean.recall, mean.f1, result.count, result.count, ""))
    listing: list[Markup | str] = [table("Metrics by class", columns, rows)]
    if len(rows) > _ROWS_IN_VIEW:
        listing = [details(f"Table of all {len(result.per_class)} classes", *listing)]
    chart = bar_chart(
        "Recall by class, with 95% intervals", bars, format=percent, maximum=1, most=_BARS,
        note="The classes with the lowest recall come first.", full=True,
    )  # fmt: skip
    lead = (
        "Recall: the share of a class's images that were classified correctly. Precision: the share of the images "
        "classified as this class that belong to it. F1: the harmonic mean of both."
    )
    return Section("Class by class", [chart, *listing], lead=lead)


def _confusions(result: Evaluation) -> Section:
    blocks = [confusion_chart(result), confusion_table(result)]
    return Section("Confusions", blocks, lead="Which classes are confused with which.")


def confusion_chart(result: Evaluation) -> Markup:
    """The confusion matrix as a heat map."""
    matrix = np.array(result.confusion)
    support = matrix.sum(axis=1, keepdims=True)
    return heat_map(
        "Confusion matrix", matrix, result.class_names, result.class_names, format=whole,
        shades=matrix / np.maximum(support, 1), row_label="true class", column_label="predicted class", square=True,
        full=len(result.labels) > _SMALL_MATRIX,
        note="The shade is the share of the row's images. A perfect model has entries on the diagonal only.",
    )  # fmt: skip


def confusion_table(result: Evaluation, most: int | None = None) -> Markup:
    """The pairs of classes that are confused most, at most `most` of them."""
    shown = dict(zip(result.labels, result.class_names, strict=True))
    return table(
        "Most confused",
        ["True class", "Predicted class", Column("Images", True, whole), Column("Share of the class", True, percent)],
        [(shown[pair.true], shown[pair.predicted], pair.count, pair.share) for pair in result.most_confused[:most]],
        empty="No image was misclassified.",
    )


def _confidence(result: Evaluation, min_confidence: float | None) -> Section:
    rows = [(step.min_confidence, step.answered, step.accuracy) for step in result.confidence]
    columns = [
        Column("min_confidence", True, percent), Column("Answered", True, percent),
        Column("Accuracy of the answered", True, percent),
    ]  # fmt: skip
    now = f"The model has min_confidence {percent(min_confidence)}." if min_confidence else "The model has none."
    lead = (
        f"The effect of answering “none of these” if the best probability is below min_confidence. {now}"
        " The metrics above count every image."
    )
    return Section("Answering only when sure", [table("By threshold", columns, rows)], lead=lead)


def _provenance(result: Evaluation, provenance: Provenance) -> Section:
    card = provenance.card
    preprocessing = card.preprocessing
    pairs: list[tuple[str, object]] = [
        ("Images", f"{provenance.data}, split {result.split}, {_images(result.count)}"),
        ("Model", provenance.model),
        ("Architecture", f"{card.architecture}, {len(card.labels)} classes"),
        ("Weights (sha256)", card.weights_sha256),
        ("Pretrained weights", card.training.get("weights", "unknown")),
        *_backbone_rows(card.backbone),
        *((("Continues the model", card.start_from.fingerprint),) if card.start_from else ()),
        ("Trained on", card.training.get("data", "unknown")),
        ("Training data fingerprint", card.data_fingerprint or "unknown"),
        ("Best epoch", card.training.get("best_epoch", "unknown")),
        *((f"{name.replace('_', ' ').capitalize()} in training", plain(value)) for name, value in card.metrics.items()),
        (
            "Preprocessing",
            f"shorter side to {preprocessing.resize_px} px ({preprocessing.interpolation}), "
            f"center {preprocessing.crop_px} x {preprocessing.crop_px} px",
        ),
        ("Computed on", f"{provenance.device}, {provenance.precision}"),
        ("Views of each image", averaged_views(result) or "the plain crop"),
        ("Trained with", f"breedclf {card.breedclf_version}, torch {card.torch_version}"),
    ]
    blocks: list[Markup | str] = [facts(pairs)]
    if result.skipped:
        more = len(result.skipped) - _SKIPPED_SHOWN
        listed = [*result.skipped[:_SKIPPED_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        blocks.append(details(f"Skipped images: {len(result.skipped)}", bullets(listed)))
    return Section("Provenance", blocks)


def _backbone_rows(backbone: BackboneRecord | None) -> list[tuple[str, str]]:
    """The library of the network, and the license of the pretrained weights."""
    if backbone is None:  # an older model
        return []
    rows = [("Network of", f"{backbone.library} {backbone.library_version}")]
    if backbone.license is not None:
        rows.append(("License of the pretrained weights", f"{backbone.license}, from {backbone.source}"))
    return rows


def _recall_first(one: ClassResult) -> tuple[float, int]:
    return (one.recall or 0.0, -one.support)


def _hits(one: ClassResult) -> int:
    return round((one.recall or 0.0) * one.support)


def _points(share: float) -> str:
    value = f"{share * 100:.1f}".removesuffix(".0") if share >= 0.001 else f"{share * 100:.2g}"
    return f"{value} percentage point" + ("" if value == "1" else "s")


def _images(count: int) -> str:
    return f"{whole(count)} image" + ("" if count == 1 else "s")


def _classes(count: int) -> str:
    return f"{whole(count)} class" + ("" if count == 1 else "es")


def _has_have(count: int) -> str:
    return "has" if count == 1 else "have"
