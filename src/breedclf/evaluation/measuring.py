"""Scores images with a model, and measures its answers: accuracy, calibration, "none of these", prediction sets."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from breedclf.config import OnBadImage
from breedclf.data.split import Split, SplitImages
from breedclf.errors import ConfigError
from breedclf.evaluation.images import UnlikeImages, shown_name
from breedclf.evaluation.metrics import Evaluation, UsedFeatures, cross_entropy, measure
from breedclf.evaluation.reliability import CalibrationResult, CoverageResult, calibration_result, coverage_result
from breedclf.evaluation.result import Targets
from breedclf.evaluation.unknown import Unlike, refused, unlike
from breedclf.features.digests import digests_of
from breedclf.features.stored_pass import FeatureCounts
from breedclf.inference.conformal import check_coverage
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.ranking import check_finite
from breedclf.inference.scoring import VIEW_NAMES, Scored, Scoring, mean_probabilities

log: logging.Logger = logging.getLogger(__name__)


def check_answers(card: ModelCard, model: Path, coverage: float | None, *, wants_unlike: bool) -> None:
    """Check that a model can give the answers that are to be measured.

    Raises:
        ConfigError: it has no feature bank for unlike images, or too few validation images for this coverage.
    """
    if wants_unlike and card.feature_bank is None:
        raise ConfigError(
            f"unlike: {model} has no feature bank, by which images unlike its classes are recognized: it is from an "
            "older version, was trained with feature_bank=False, or on too few images. Train it again with this "
            "version; without unlike, it is evaluated as before"
        )
    if coverage is not None:
        check_coverage(card, coverage)


def measured(
    scoring: Scoring,
    images: Split,
    root: Path,
    on_bad_image: OnBadImage,
    others: UnlikeImages | None,
    coverage: float | None,
) -> Evaluation:
    """Score images with a model, and measure its answers.

    Args:
        scoring: the model and how its features are found.
        images: those of the split.
        root: where their shown paths start.
        on_bad_image: whether unreadable images are left out.
        others: images that are none of the classes.
        coverage: that of prediction sets; None measures none.

    Raises:
        ArtifactError: the probabilities contain NaN.
        ImageError: an image can't be read.
        DataError: no image can.
    """
    found, counts = scoring.probabilities(images.images, f"evaluating {images.name}")
    card, targets = scoring.model.card, torch.tensor(images.targets)[found.kept].numpy()
    result = measure(
        check_finite(found.values).numpy(),
        targets,
        card.labels,
        _shown_names(images.images, found, root),
        class_names=card.class_names,
        split=images.name,
        skipped=found.left_out(on_bad_image),
    )
    more: dict[str, Any] = {
        "views": tuple(VIEW_NAMES[view] for view in scoring.views),
        "calibration": _calibration(card, found, targets, result.loss),
        "coverage": _coverage(card, found, targets, coverage),
    }
    if found.distances is not None and card.feature_bank is not None:
        names = _shown_names(images.images, found, root)
        threshold = card.feature_bank.threshold
        more["refused"] = refused(
            found.distances.numpy(), found.values.numpy(), threshold, card.min_confidence, card.labels, names
        )
        more["known_share"] = 1 - more["refused"].count / result.count
        if others is not None:
            more["unlike"], used = _unlike(scoring, images, found, others, on_bad_image)
            counts += used
    return result.model_copy(update={**more, "features": UsedFeatures(**asdict(counts))})


def _calibration(card: ModelCard, found: Scored, targets: Targets, loss: float) -> CalibrationResult:
    """The head's weights are divided by the temperature, so that the scores times it are those before."""
    temperature = 1.0 if card.calibration is None else card.calibration.temperature
    before = loss
    if temperature != 1:
        before = cross_entropy(mean_probabilities(found.by_view, temperature=1 / temperature).numpy(), targets)
    return calibration_result(found.values.numpy(), targets, temperature, before, loss)


def _coverage(card: ModelCard, found: Scored, targets: Targets, coverage: float | None) -> CoverageResult | None:
    if coverage is None:
        return None
    probabilities = mean_probabilities(found.by_view, torch.float32).numpy()  # as predictions are made
    return coverage_result(probabilities, targets, coverage, check_coverage(card, coverage))


def _unlike(
    scoring: Scoring, images: Split, own: Scored, others: UnlikeImages, on_bad_image: OnBadImage
) -> tuple[Unlike, FeatureCounts]:
    card = scoring.model.card
    assert card.feature_bank is not None
    shared = _shared(scoring, images.images, others)
    found, counts = scoring.probabilities(others.images, f"evaluating {others.shown}")
    skipped = found.left_out(on_bad_image)
    assert own.distances is not None
    assert found.distances is not None
    result = unlike(
        own.distances.numpy(),
        found.distances.numpy(),
        check_finite(found.values).numpy(),
        card.feature_bank.threshold,
        card.min_confidence,
        card.labels,
        _shown_names(others.images, found, others.root),
        shared=shared,
        skipped=skipped,
    )
    return result, counts


def _shared(scoring: Scoring, images: SplitImages, others: UnlikeImages) -> int:
    """How many of the other images have the content of one of the split's; they are reported."""
    cache = scoring.features.cache
    known = None if cache is None else cache.known
    own = {digest.tobytes() for digest in digests_of(images, known).values}
    shared = sum(digest.tobytes() in own for digest in digests_of(others.images, known).values)
    if shared:
        log.warning(
            "%d of the %d images of %s are also among the images of the split: they aren't unlike its classes, and "
            "auroc and let_through count them; remove them",
            shared,
            len(others.images),
            others.shown,
        )
    return shared


def _shown_names(images: SplitImages, found: Scored, root: Path) -> list[Path]:
    return [shown_name(images.name(position), root) for position in found.kept.tolist()]
