"""The model behind a server: decodes one picture at a time, and answers a batch of decoded ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from breedclf.config import Precision
from breedclf.errors import ImageError, ImageTooLargeError
from breedclf.learning.artifact import ModelCard
from breedclf.learning.classifier import Classifier
from breedclf.learning.decoding import decode_picture
from breedclf.learning.prediction import Prediction
from breedclf.serving.core import Limits, RequestError
from breedclf.serving.parity import Reference, reference_of


class Engine(ABC):
    """A model in two steps, so that decoding can go on beside the network.

    `decode` may be called from several threads; `forward` from one at a time.
    """

    def __init__(self, card: ModelCard, limits: Limits) -> None:
        self.card = card
        self._limits = limits

    def decode(self, picture: bytes) -> torch.Tensor:
        """A picture file as the network's input, uint8 [3, crop, crop].

        Raises:
            RequestError: 400 when it is damaged, 422 when it has too many pixels.
        """
        try:
            preprocessing, most = self.card.preprocessing, self._limits.max_pixels
            opened = decode_picture(
                picture,
                "the picture",
                max_pixels=most,
                enough_px=preprocessing.enough_px(0),
                color=preprocessing.color,
            )
            return preprocessing.view(opened, 0)
        except ImageTooLargeError as error:
            raise RequestError(422, "TooManyPixels", _as_told_to_a_client(error)) from error
        except ImageError as error:
            raise RequestError(400, "BadImage", _as_told_to_a_client(error)) from error
        except MemoryError as error:
            raise RequestError(422, "TooManyPixels", "the picture needs more memory than there is") from error

    @abstractmethod
    def forward(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        """One prediction for each decoded picture."""

    @abstractmethod
    def reference(self) -> Reference:
        """What the model answers about the sample pictures when it is asked directly."""

    def sample(self) -> torch.Tensor:
        """An input that is no picture, to see whether the network answers."""
        crop = self.card.preprocessing.crop_px
        return torch.full((3, crop, crop), 128, dtype=torch.uint8)


class TorchEngine(Engine):
    """The classifier itself, with its batch norms folded, in bf16 where the hardware has it."""

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        super().__init__(classifier.card, limits)
        self.classifier = classifier
        self._precision: Precision = "bf16" if classifier.precision == "bf16" else "fp32"

    def forward(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        probabilities = self.classifier.probabilities_of_inputs(torch.stack(list(inputs)))
        return [self.classifier.prediction(row) for row in probabilities]

    def reference(self) -> Reference:
        return reference_of(Classifier(self.classifier.artifact, precision=self._precision, batch_size=1))


def _as_told_to_a_client(error: ImageError) -> str:
    message = ascii(str(error))[1:-1]
    return message if len(message) <= 300 else message[:300] + "..."
