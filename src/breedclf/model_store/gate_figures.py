"""Measures what the gate decides by: accuracy, the comparison with the live model, and parity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from breedclf.config import OnBadImage
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.labeled_images import LabeledImages
from breedclf.evaluation.images import origin_of
from breedclf.evaluation.result import wilson_interval
from breedclf.files.paths import StrPath
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import read_card
from breedclf.inference.scoring import Scoring
from breedclf.model_store.compare import compare_models
from breedclf.model_store.comparison import ModelComparison
from breedclf.model_store.gate import Parity
from breedclf.serving.parity import TOLERANCE

PARITY_IMAGES = 8


@dataclass(frozen=True)
class GateFigures:
    """What `gate_checks` takes besides the thresholds and the size; the fields are named as its arguments."""

    accuracy: tuple[float, float, float]
    most_frequent: float
    against_live: ModelComparison | None
    not_compared: str
    parity: Parity


def gate_figures(
    model: Path,
    data: StrPath | LabeledImages | Mapping[str, LabeledImages],
    *,
    live: Path | None = None,
    names: tuple[str, str] = ("the live model", "this model"),
    split: str = "test",
    labels: StrPath | None = None,
    on_bad_image: OnBadImage = "error",
    cache_dir: StrPath | None = None,
) -> GateFigures:
    """Measure a model on images, and compare it with the live one if that has the same classes.

    Args:
        model: the model directory.
        data: a dataset folder, a table, or labeled images; see `evaluate`.
        live: the directory of the live model; None if there is none to compare with.
        names: how both are shown.
        split, labels, on_bad_image, cache_dir: as of `evaluate`.

    Raises:
        DataError: the images can't be used, or are of other classes.
        ArtifactError: a model can't be used.
    """
    reuse = FeatureReuse(cache_dir=cache_dir)
    scoring = Scoring.read(model, reuse, stop_at_bad=on_bad_image == "error")
    images = origin_of(data, labels).images(split, scoring.model.card, on_bad_image)
    found, _ = scoring.probabilities(images.images, f"predicting with {names[1]}")
    found.left_out(on_bad_image)
    targets = torch.tensor(images.targets)[found.kept]
    correct, count = int((found.values.argmax(1) == targets).sum()), len(targets)
    kept = found.kept.tolist()
    some = [number * count // min(PARITY_IMAGES, count) for number in range(min(PARITY_IMAGES, count))]
    again = Classifier(model)
    predictions = again.predict([images.images.read(kept[each]) for each in some])
    not_compared = "" if live is None else _other_classes(live, model)
    against = None
    if live is not None and not not_compared:
        against = compare_models(
            live, model, data, names=names, split=split, labels=labels, on_bad_image=on_bad_image, cache_dir=cache_dir
        )
    return GateFigures(
        (correct / count, *wilson_interval(correct, count)),
        int(targets.bincount().max()) / count,
        against,
        not_compared,
        parity_of(
            scoring.model.card.labels,
            found.values[some].tolist(),
            [{each.label: each.probability for each in prediction.ranked} for prediction in predictions],
            TOLERANCE[again.precision],
        ),
    )


def parity_of(
    labels: Sequence[str],
    measured: Sequence[Sequence[float]],
    predicted: Sequence[Mapping[str, float]],
    tolerance: float,
) -> Parity:
    """Compare probabilities of the same images.

    Args:
        labels: of the classes.
        measured: for each image the probability of each class.
        predicted: the same, by label.
        tolerance: how much they may differ.

    Example:
        >>> parity_of(["ant", "bee"], [[0.25, 0.75]], [{"bee": 0.5, "ant": 0.5}], 0.001).difference
        0.25
    """
    largest, others = 0.0, 0
    for row, prediction in zip(measured, predicted, strict=True):
        by_label = dict(zip(labels, row, strict=True))
        largest = max(largest, *(abs(by_label[label] - prediction[label]) for label in labels))
        best, other = max(labels, key=by_label.__getitem__), max(labels, key=prediction.__getitem__)
        others += by_label[best] - by_label[other] > tolerance
    return Parity(len(measured), largest, tolerance, others)


def _other_classes(live: Path, model: Path) -> str:
    """In what the classes of two models differ; empty if they don't."""
    old, new = (set(read_card(folder).labels) for folder in (live, model))
    added, removed = len(new - old), len(old - new)
    if not added and not removed:
        return ""
    return f"the live model has other classes ({added} are new, {removed} are gone)"
