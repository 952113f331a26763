"""`Explainer`: explanations of a classifier's predictions, with the pass through the network that predicts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from breedclf.errors import ConfigError
from breedclf.explanations.classes import ClassNames
from breedclf.explanations.explanation import Explanation
from breedclf.explanations.sources import ExactSource, GradientSource
from breedclf.inference.classifier import Classifier


class Explainer:
    """Explains the predictions of a classifier.

    Networks that end with average pooling, with or without a norm, have exact class activation maps, which come from
    the forward pass of the prediction. Others have Grad-CAM, with a pass through a plain copy of the network.

    Args:
        classifier: the loaded model.

    Raises:
        ConfigError: the network has no map; the message says why.

    Example:
        >>> explainer = Explainer(classifier)  # doctest: +SKIP
        >>> explainer.explanations(crops)[0].image()  # doctest: +SKIP
    """

    def __init__(self, classifier: Classifier) -> None:
        if not isinstance(classifier, Classifier):
            raise ConfigError(
                f"a {type(classifier).__name__} has no maps to explain its answers by: load the model directory with "
                "breedclf.Classifier, which computes with torch"
            )
        self.names: ClassNames = ClassNames(classifier.card.labels, classifier.class_names)
        self._source: ExactSource | GradientSource = ExactSource.of(classifier) or GradientSource.of(classifier)

    @property
    def is_exact(self) -> bool:
        """Whether the maps are exact: their values are the contributions to the score."""
        return isinstance(self._source, ExactSource)

    def explanations(
        self, crops: torch.Tensor, classes: Sequence[int | None] | None = None, coverage: float | None = None
    ) -> list[Explanation]:
        """The explanations of N images that are already cropped, each of one class.

        Args:
            crops: uint8 [N, 3, crop, crop].
            classes: for each image the position of a class among the model's outputs; None for the most probable one.
            coverage: of the prediction sets, as in `Classifier.predict`.

        Raises:
            ConfigError: there is no class at such a position, or their number isn't N.
            ArtifactError: the probabilities contain NaN.
        """
        chosen = [None] * len(crops) if classes is None else list(classes)
        self._check(chosen, len(crops))
        if not len(crops):
            return []
        found = list[Explanation]()
        for crop, index, (evidence, prediction) in zip(
            crops, chosen, self._source.evidence(crops, coverage), strict=True
        ):
            explained = self.names.labels.index(prediction.best.label) if index is None else index
            (own,) = evidence.maps([explained])
            found.append(Explanation.of_class(explained, own, evidence, self.names, crop.cpu(), prediction))
        return found

    def _check(self, classes: Sequence[int | None], images: int) -> None:
        if len(classes) != images:
            raise ConfigError(f"there are {len(classes)} classes for {images} images: give one, or None, per image")
        count = len(self.names.labels)
        if wrong := [index for index in classes if index is not None and not 0 <= index < count]:
            raise ConfigError(f"there is no class {wrong[0]}: the model's classes are 0 to {count - 1}")
