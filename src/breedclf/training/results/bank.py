"""Chooses the training images whose features are stored with a model, and the distance up to which images are known."""

from __future__ import annotations

import torch

from breedclf.inference.feature_bank import FeatureBank, LimitedBank

IMAGES_PER_CLASS = 50
KEPT_SHARE = 0.95
NEIGHBOR = 5
_FEWEST_VALID, _FEWEST_IMAGES = 50, 30
_ROUNDING = 0.001  # by which distances may differ between engines and precisions, so that equal images stay known


def chosen_rows(targets: torch.Tensor, per_class: int = IMAGES_PER_CLASS) -> torch.Tensor:
    """The rows of at most `per_class` images of each class, evenly spaced; int64, ascending.

    Args:
        targets: classes, int64 [N].
    """
    chosen = []
    for label in torch.bincount(targets).nonzero().flatten().tolist():
        rows = (targets == label).nonzero().flatten()
        chosen.append(rows[torch.arange(min(len(rows), per_class)) * len(rows) // min(len(rows), per_class)])
    return torch.cat(chosen).sort().values


def limited_bank(train: torch.Tensor, valid: torch.Tensor) -> LimitedBank | None:
    """A bank of training images, and the threshold by validation images; None with too few images for one.

    With fewer than 50 validation images, the threshold is set on training and validation images together, each compared
    to the others.

    Args:
        train: features of the chosen training images, [M, D].
        valid: features of the validation images, [N, D].
    """
    if len(valid) < _FEWEST_IMAGES and len(train) < _FEWEST_IMAGES:
        return None
    neighbor = max(1, min(NEIGHBOR, len(train) - 1))
    bank = FeatureBank(FeatureBank(torch.empty(0), 1).projected(train).half(), neighbor)
    distances, limited_on = bank.distances(valid), "valid"
    if len(valid) < _FEWEST_VALID:
        # An image of the bank is its own nearest neighbor, so the one after `neighbor` is asked for.
        others = FeatureBank(bank.rows, neighbor + 1).distances(train)
        distances, limited_on = torch.cat([others, distances]), "training and valid"
    threshold = float(torch.quantile(distances.double(), KEPT_SHARE, interpolation="higher"))
    return LimitedBank(bank, min(max(threshold, _ROUNDING), 2.0), KEPT_SHARE, limited_on, len(distances))
