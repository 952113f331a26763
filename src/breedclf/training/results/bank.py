"""Chooses the training images whose features are stored with a model, and the distance up to which images are known."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from breedclf.inference.feature_bank import FeatureBank, LimitedBank
from breedclf.models.head import spread

log: logging.Logger = logging.getLogger(__name__)

IMAGES_PER_CLASS = 50
MOST_IMAGES = 2_000
KEPT_SHARE = 0.95
NEIGHBOR = 5
_FEWEST_VALID, _FEWEST_IMAGES = 50, 30
_MOST_RAW_BYTES = 3_000_000
_DIRECTIONS = 128
_BASIS_IMAGES = 256
_HELD_OUT_CLASSES, _HELD_OUT_IMAGES = 10, 256
_LEAST_EIGENVALUE = 1e-6
_ROUNDING = 0.01
"""The distance that low precision may put between equal images."""


@dataclass(frozen=True)
class Images:
    """Features float32 [N, D] of images, and their classes int64 [N]."""

    features: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def and_also(self, other: Images) -> Images:
        """These images and other ones."""
        return Images(torch.cat([self.features, other.features]), torch.cat([self.targets, other.targets]))

    def rows(self, chosen: torch.Tensor) -> Images:
        """Some of them."""
        return Images(self.features[chosen], self.targets[chosen])


def chosen_rows(targets: torch.Tensor) -> torch.Tensor:
    """The rows of at most 50 images of each class, evenly spaced; int64, ascending.

    There are at most 2,000, or one of each class.

    Args:
        targets: classes, int64 [N].
    """
    counts = torch.bincount(targets)
    per_class = max(1, min(IMAGES_PER_CLASS, MOST_IMAGES // int((counts > 0).sum())))
    if int(counts.max()) <= per_class:
        return torch.arange(len(targets))
    by_class, start, chosen = torch.argsort(targets, stable=True), 0, []
    for count in counts.tolist():
        chosen.append(by_class[start + spread(count, per_class)])
        start += count
    return torch.cat(chosen).sort().values


def limited_bank(train: Images, valid: Images) -> LimitedBank | None:
    """A bank of training images, and the threshold by validation images; None, with the reason in the log, if there are
    fewer than 30 of both, or features are NaN.

    With fewer than 50 validation images, they are part of the bank, and each image is compared to the others.

    Args:
        train: the chosen training images.
        valid: the validation images.
    """
    if len(valid) < _FEWEST_IMAGES and len(train) < _FEWEST_IMAGES:
        log.info(
            "no feature bank: %d training and %d validation images are too few to tell what is none of the classes; "
            "%d of either are needed",
            len(train),
            len(valid),
            _FEWEST_IMAGES,
        )
        return None
    is_pooled = len(valid) < _FEWEST_VALID
    known = train.and_also(valid) if is_pooled else train
    basis = leading_directions(known.features) if 2 * known.features.numel() > _MOST_RAW_BYTES else None
    neighbor = max(1, min(NEIGHBOR, len(known) - is_pooled))
    bank = FeatureBank(FeatureBank(torch.empty(0), 1, basis).projected(known.features).half(), neighbor, basis)
    limiting = known if is_pooled else valid.rows(spread(len(valid), MOST_IMAGES))
    wide = bank.to(torch.device("cpu"))
    similarities = wide.projected(limiting.features) @ wide.rows.T
    if is_pooled:
        similarities.fill_diagonal_(-torch.inf)
    distances = 1 - similarities.topk(neighbor, dim=1).values[:, -1]
    if not bool(wide.rows.isfinite().all() and distances.isfinite().all()):
        log.warning("no feature bank: features of training or validation images are NaN or infinite")
        return None
    threshold = min(max(quantile(distances, KEPT_SHARE), _ROUNDING), 2.0)
    if float(distances.max()) < _ROUNDING:
        log.warning("the feature bank tells nothing apart: all images have the same features")
    some = spread(len(limiting), _HELD_OUT_IMAGES)
    near = held_out_auroc(similarities[some], limiting.targets[some], known.targets, neighbor)
    limited_on = "training and valid" if is_pooled else "valid"
    log.info(
        "feature bank: %d images; those farther than %.3f are none of the classes (keeps %.0f%% of %d images of %s)%s",
        len(known),
        threshold,
        100 * KEPT_SHARE,
        len(limiting),
        limited_on,
        "" if near is None else f"; a class left out of it is told from the others with AUROC {near:.2f}",
    )
    return LimitedBank(bank, threshold, KEPT_SHARE, limited_on, len(limiting), near)


def quantile(distances: torch.Tensor, share: float) -> float:
    """The distance that a new image exceeds with a probability of at most 1 - `share`, or the highest of few images.

    Its rank is ceil((n + 1) * share), as in split conformal prediction.
    """
    rank = min(len(distances), math.ceil((len(distances) + 1) * share - 1e-9))
    return float(distances.double().kthvalue(rank).values)


def leading_directions(features: torch.Tensor, count: int = _DIRECTIONS) -> torch.Tensor | None:
    """Orthonormal directions, float32 [D, K], along which images of unit length differ most from zero; None for NaN.

    They are the leading eigenvectors of the similarities of 256 images, evenly spaced, which is cheap.

    Args:
        features: [N, D].
        count: the most directions; there are fewer if that many describe the images.
    """
    unit = F.normalize(features[spread(len(features), _BASIS_IMAGES)].float(), dim=1)
    similarities = (unit @ unit.T).double()
    if not bool(similarities.isfinite().all()):
        return None
    values, vectors = torch.linalg.eigh(similarities)
    used = values > _LEAST_EIGENVALUE * values[-1]
    values, vectors = values[used][-count:], vectors[:, used][:, -count:]
    basis: torch.Tensor = unit.T @ (vectors / values.sqrt()).float()
    return basis


def held_out_auroc(
    similarities: torch.Tensor, targets: torch.Tensor, row_targets: torch.Tensor, neighbor: int
) -> float | None:
    """How well images of a class whose rows are left out of the bank are told from the others by their distance.

    The mean over up to 10 classes, evenly spaced, of the area under the ROC curve; None for a single class.

    Args:
        similarities: of images to the rows of the bank, [N, M].
        targets: classes of the images, int64 [N].
        row_targets: classes of the rows, int64 [M].
        neighbor: that of the bank.
    """
    counts = torch.bincount(row_targets)
    classes = torch.bincount(targets).nonzero().flatten()
    if len(classes) < 2 or int((counts > 0).sum()) < 2:
        return None
    reach = min(len(row_targets), neighbor + int(counts.max()) + 1)
    nearest = similarities.topk(reach, dim=1)
    of_nearest = row_targets[nearest.indices]
    found = []
    for label in classes[spread(len(classes), _HELD_OUT_CLASSES)].tolist():
        left = nearest.values.masked_fill(of_nearest == label, -torch.inf)
        distances = 1 - left.topk(min(neighbor, reach), dim=1).values[:, -1]
        found.append(auroc(distances[targets != label], distances[targets == label]))
    return sum(found) / len(found)


def auroc(lower: torch.Tensor, higher: torch.Tensor) -> float:
    """The probability that a value of `higher` is above one of `lower`; equal ones count half."""
    above = (higher[:, None] > lower).double().mean() + (higher[:, None] == lower).double().mean() / 2
    return float(above)
