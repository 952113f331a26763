"""From probabilities, and maybe a distance, to a prediction; for every engine."""

from __future__ import annotations

import torch

from breedclf.errors import ArtifactError
from breedclf.inference.conformal import prediction_set
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.prediction import Prediction, RankedClass


def ranked_prediction(
    card: ModelCard, probabilities: torch.Tensor, distance: float | None = None, coverage: float | None = None
) -> Prediction:
    """Rank one row of probabilities [C], from any engine.

    Args:
        card: of the model.
        probabilities: [C].
        distance: that to the model's feature bank.
        coverage: that of the prediction set, between 0 and 1; None for no set.

    Raises:
        ArtifactError: the probabilities contain NaN.
        ConfigError: `coverage` isn't between 0 and 1, or the model had too few validation images for it.
    """
    values, order = check_finite(probabilities).sort(descending=True, stable=True)
    ranked = tuple(
        RankedClass(card.class_names[index], card.labels[index], value)
        for value, index in zip(values.tolist(), order.tolist(), strict=True)
    )
    is_confident = card.min_confidence is None or ranked[0].probability >= card.min_confidence
    is_near = distance is None or card.feature_bank is None or distance <= card.feature_bank.threshold
    chosen = None if coverage is None else prediction_set(card, probabilities, coverage)
    return Prediction(ranked, is_confident and is_near, distance, chosen)


def check_finite(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the probabilities unchanged if all of them are finite.

    Raises:
        ArtifactError: one of them is NaN or infinite.
    """
    if bool(probabilities.isfinite().all()):
        return probabilities
    raise ArtifactError(
        "the model's probabilities are NaN or infinite: its weights are so large that sums overflow; "
        "train it again with a lower learning_rate"
    )
