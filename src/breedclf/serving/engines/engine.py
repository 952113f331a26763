"""The inference engine of a server: decodes single images, and predicts batches of decoded images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from breedclf.config import Precision
from breedclf.errors import ArtifactError, ConfigError
from breedclf.explanations.explainer import Explainer
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import Limits, RequestError
from breedclf.serving.decoding.inputs import network_input
from breedclf.serving.parity import Reference, reference_of


class Engine(ABC):
    """A model in two steps, so that decoding and the network can run in parallel.

    `decode` is thread-safe; `forward` must be called by one thread at a time.
    """

    def __init__(self, card: ModelCard, limits: Limits) -> None:
        self.card = card
        self._limits = limits

    @property
    def limits(self) -> Limits:
        return self._limits

    def decode(self, image: bytes) -> torch.Tensor:
        """Decode an image file to the network's input, uint8 [3, crop, crop].

        Raises:
            RequestError: 400 if it is damaged, 422 if it has too many pixels or is too expensive to decode.
        """
        return network_input(image, self.card.preprocessing, self._limits)

    def forward(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        """Predict decoded images.

        Raises:
            RequestError: 500 if the model's probabilities aren't finite.
        """
        try:
            return self.predictions(inputs)
        except ArtifactError as error:
            raise RequestError(500, "ModelFailed", str(error)) from error

    @abstractmethod
    def predictions(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        """Predict decoded images.

        Raises:
            ArtifactError: the model's probabilities aren't finite.
        """

    @abstractmethod
    def reference(self) -> Reference:
        """The model's own predictions for the sample images."""

    @property
    def has_maps(self) -> bool:
        """Whether the engine can explain its predictions."""
        return False

    def explainer(self) -> Explainer:
        """What explains the predictions; the first call may take a second.

        Raises:
            RequestError: 400 if the engine or the network has no maps.
        """
        raise RequestError(
            400,
            "NoExplanation",
            "this server's engine has no maps to explain predictions by; serve the model with --engine torch",
        )

    def sample(self) -> torch.Tensor:
        """A constant input, to check that the network works."""
        crop = self.card.preprocessing.crop_px
        return torch.full((3, crop, crop), 128, dtype=torch.uint8)


class TorchEngine(Engine):
    """The classifier itself, with folded batch norms, in bf16 if the hardware is faster in it."""

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        super().__init__(classifier.card, limits)
        self.classifier = classifier
        self._explainer: Explainer | RequestError | None = None
        self._precision: Precision = "bf16" if classifier.precision == "bf16" else "fp32"

    def predictions(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        return self.classifier.predictions_of_inputs(torch.stack(list(inputs)))

    @property
    def has_maps(self) -> bool:
        return True

    def explainer(self) -> Explainer:
        if self._explainer is None:
            try:
                self._explainer = Explainer(self.classifier)
            except ConfigError as error:
                self._explainer = RequestError(400, "NoExplanation", str(error))
        if isinstance(self._explainer, RequestError):
            raise self._explainer
        return self._explainer

    def reference(self) -> Reference:
        return reference_of(Classifier(self.classifier.artifact, precision=self._precision, batch_size=1))
