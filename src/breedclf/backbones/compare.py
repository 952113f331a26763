"""Compare backbones on images: the features of each once, then the same heads on the same folds."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.backbones.candidates import candidate_configs
from breedclf.backbones.comparison import BackboneComparison, ComparedBackbone, PairedResult, paired_results, pick
from breedclf.backbones.passes import CandidateFeatures, Passes
from breedclf.config import TrainingConfig
from breedclf.data.given_images import GivenImages
from breedclf.data.image_groups import groups_of
from breedclf.errors import ConfigError, TrainingError
from breedclf.files.paths import StrPath
from breedclf.models.backbones.published_weights import published_weights
from breedclf.training.folds.heads import SomeRows, out_of_fold
from breedclf.training.folds.stratified import ALWAYS_TRAINED, stratified_folds

log: logging.Logger = logging.getLogger(__name__)


def compare_backbones(
    config: TrainingConfig,
    candidates: Sequence[str],
    *,
    budget_seconds: float | None = None,
    weights: Mapping[str, StrPath | None] | None = None,
    images: GivenImages | None = None,
) -> BackboneComparison:
    """Compare backbones on your images, on this machine, without the test split.

    The features of the training and validation images are computed once for each candidate and stored, where training
    finds them. On these, heads as `config` trains them classify every image by a head that was trained on the others,
    in five folds. `best` is the fastest candidate that can't be distinguished from the most accurate one (McNemar's
    exact test, p >= 0.05).

    Args:
        config: names the images, and how heads are trained; its `weights`, if it sets a name, are those of all
            candidates.
        candidates: architectures, the first of which the others are tested against.
        budget_seconds: what the comparison may take, about; None for any time. A short timed run of each candidate
            predicts its cost. If it doesn't fit, all are compared on a subset of the images, evenly over the classes,
            and a candidate that is too expensive even for the smallest one is left out.
        weights: names or files by candidate, as in the setting `weights`.
        images: labeled images in place of the folder of `config`.

    Raises:
        ConfigError: a candidate is unknown, can't be fine-tuned or is named twice, the settings train more than the
            head, or the budget is too small for one candidate.
        DataError: the images can't be used, or no class has two.
        WeightsError: weights can't be loaded, don't fit, or have a license that binds and isn't accepted; or the
            features of every candidate contain NaN.
        MissingExtraError: timm isn't installed.
        TrainingError: the loss of every candidate is NaN or infinite, or own code fails.
        KeyboardInterrupt: it was interrupted; the features computed so far are stored.

    Example:
        >>> config = TrainingConfig(data="dogImages")
        >>> comparison = compare_backbones(config, ["resnet50", "efficientnet_v2_s"])  # doctest: +SKIP
        >>> comparison.best.name, comparison.best.accuracy  # doctest: +SKIP
        ('efficientnet_v2_s', 0.91)
    """
    started = time.perf_counter()
    configs = candidate_configs(config, candidates, weights or {})
    if budget_seconds is not None and not budget_seconds > 0:
        raise ConfigError(f"budget_seconds={budget_seconds:g}: a budget is a positive number of seconds")
    try:
        passes = Passes.start(config, images)
        loaded = passes.loaded(configs)
        plan = passes.plan(loaded, budget_seconds, time.perf_counter() - started)
        features, left_out = passes.features(loaded, plan)
        folds = _Folds.of(passes, features)
        tested = _tested(passes, folds, left_out)
        return _result(passes, folds, tested, left_out, budget_seconds, time.perf_counter() - started)
    except KeyboardInterrupt:
        stored = "the features computed so far are stored, and aren't computed again"
        raise KeyboardInterrupt(
            f"the comparison was interrupted; {stored if config.feature_cache else 'nothing is stored'}"
        ) from None


@dataclass(frozen=True)
class _Folds:
    """The images that all candidates have features of, with their folds.

    Args:
        features: of each candidate.
        rows: for each candidate the rows, int64 [N], of those images.
        folds: the fold of each image [N].
    """

    features: Sequence[CandidateFeatures]
    rows: Sequence[torch.Tensor]
    folds: Sequence[int]

    @classmethod
    def of(cls, passes: Passes, features: Sequence[CandidateFeatures]) -> _Folds:
        kept = [set(each.positions.tolist()) for each in features]
        common = sorted(set.intersection(*kept))
        split = passes.pool.chosen(common)
        groups = groups_of(passes.config, split.images, passes.digests.values[common])
        folds = stratified_folds(split.targets, groups, passes.config.split_seed)
        if never := folds.count(ALWAYS_TRAINED):
            log.warning(
                "%d images are the only ones of their class, or of its only group: they are trained on, not evaluated",
                never,
            )
        rows = [torch.from_numpy(np.flatnonzero(np.isin(each.positions, common))) for each in features]
        return cls(features, rows, folds)

    @property
    def evaluated(self) -> NDArray[np.bool_]:
        """Whether each image is evaluated, bool [N]."""
        return np.not_equal(self.folds, ALWAYS_TRAINED)


@dataclass(frozen=True)
class _Tested:
    """A candidate with its predictions: whether each evaluated image is classified correctly."""

    features: CandidateFeatures
    correct: NDArray[np.bool_]
    seconds: float


def _tested(passes: Passes, folds: _Folds, left_out: dict[str, str]) -> list[_Tested]:
    """Train the heads of each candidate; one whose loss isn't a number is added to `left_out`, with the reason.

    Raises:
        TrainingError: that is the case for all of them.
    """
    tested = []
    for features, rows in zip(folds.features, folds.rows, strict=True):
        started, candidate = time.perf_counter(), features.candidate
        config = candidate.config.replace(views=1, patience=None)
        source = features.source.loaded()
        try:
            correct = np.zeros(len(folds.folds), dtype=bool)
            for left_out_rows, predictions in out_of_fold(
                config, passes.data, candidate.pretrained, SomeRows(source, rows), folds.folds, passes.compute
            ):
                correct[left_out_rows.numpy()] = predictions.is_correct.numpy()
        except TrainingError as error:
            left_out[candidate.name] = str(error)
            log.warning("%s isn't compared: %s", candidate.name, error)
            continue
        tested.append(_Tested(features, correct[folds.evaluated], time.perf_counter() - started))
    if not tested:
        name, reason = next(reversed(left_out.items()))
        raise TrainingError(f"no candidate can be compared; {name}: {reason}")
    return tested


def _result(
    passes: Passes,
    folds: _Folds,
    tested: Sequence[_Tested],
    left_out: Mapping[str, str],
    budget_seconds: float | None,
    seconds: float,
) -> BackboneComparison:
    speeds = [each.features.speed.images_per_second for each in tested]
    results = paired_results([each.correct for each in tested], speeds)
    compared = tuple(_compared(each, result) for each, result in zip(tested, results, strict=True))
    return BackboneComparison(
        candidates=compared,
        best=compared[pick([result.p_value_of_best for result in results], speeds)],
        images=int(folds.evaluated.sum()),
        available=len(passes.pool),
        classes=len(passes.data.labels),
        folds=len({*folds.folds} - {ALWAYS_TRAINED}),
        left_out=left_out,
        skipped=tuple(dict.fromkeys(reason for each in folds.features for reason in each.skipped)),
        seconds=seconds,
        budget_seconds=budget_seconds,
        device=passes.compute.device.type,
        precision=passes.compute.precision,
    )


def _compared(tested: _Tested, result: PairedResult) -> ComparedBackbone:
    features, candidate = tested.features, tested.features.candidate
    published = published_weights(candidate.name, candidate.config.weights)
    return ComparedBackbone(
        name=candidate.name,
        weights=candidate.config.weights,
        accuracy=result.accuracy,
        accuracy_interval=result.interval,
        correct=result.correct,
        p_value=result.p_value,
        p_value_of_best=result.p_value_of_best,
        images_per_second=features.speed.images_per_second,
        model_mb=candidate.model_bytes / 1e6,
        license=None if published is None else published.license,
        parameters=candidate.parameters,
        features=candidate.pretrained.backbone.features,
        image_px=candidate.pretrained.preprocessing.crop_px,
        computed=features.counts.computed,
        reused=features.counts.reused,
        seconds=features.seconds + tested.seconds,
        config=candidate.config,
    )
