"""The model behind a server: decodes one image at a time, and answers a batch of decoded ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from breedclf.config import Precision
from breedclf.errors import ArtifactError
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import Limits, RequestError
from breedclf.serving.decoding.inputs import network_input
from breedclf.serving.parity import Reference, reference_of


class Engine(ABC):
    """A model in two steps, so that decoding can go on beside the network.

    `decode` may be called from several threads; `forward` from one at a time.
    """

    def __init__(self, card: ModelCard, limits: Limits) -> None:
        self.card = card
        self._limits = limits

    @property
    def limits(self) -> Limits:
        return self._limits

    def decode(self, picture: bytes) -> torch.Tensor:
        """An image file as the network's input, uint8 [3, crop, crop].

        Raises:
            RequestError: 400 when it is damaged, 422 when it has too many pixels or costs too much to decode.
        """
        return network_input(picture, self.card.preprocessing, self._limits)

    def forward(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        """One prediction for each decoded image.

        Raises:
            RequestError: 500 when the model's probabilities aren't numbers.
        """
        try:
            return self.predictions(inputs)
        except ArtifactError as error:
            raise RequestError(500, "ModelFailed", str(error)) from error

    @abstractmethod
    def predictions(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        """The same.

        Raises:
            ArtifactError: the model's probabilities aren't numbers.
        """

    @abstractmethod
    def reference(self) -> Reference:
        """What the model answers about the sample images when it is asked directly."""

    def sample(self) -> torch.Tensor:
        """An input that is no image, to see whether the network answers."""
        crop = self.card.preprocessing.crop_px
        return torch.full((3, crop, crop), 128, dtype=torch.uint8)


class TorchEngine(Engine):
    """The classifier itself, with its batch norms folded, in bf16 where the hardware has it."""

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        super().__init__(classifier.card, limits)
        self.classifier = classifier
        self._precision: Precision = "bf16" if classifier.precision == "bf16" else "fp32"

    def predictions(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        probabilities = self.classifier.probabilities_of_inputs(torch.stack(list(inputs)))
        return [self.classifier.prediction(row) for row in probabilities]

    def reference(self) -> Reference:
        return reference_of(Classifier(self.classifier.artifact, precision=self._precision, batch_size=1))
