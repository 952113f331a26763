"""The model behind a server: decodes one picture at a time, and answers a batch of decoded ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from breedclf.errors import ImageError, ImageTooLargeError
from breedclf.learning.classifier import Classifier
from breedclf.learning.decoding import decode_picture
from breedclf.learning.prediction import Prediction
from breedclf.serving.core import Limits, RequestError


class Engine:
    """A classifier in two steps, so that decoding can go on beside the network.

    `decode` may be called from several threads; `forward` from one at a time.
    """

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        self.classifier = classifier
        self._limits = limits

    def decode(self, picture: bytes) -> torch.Tensor:
        """A picture file as the network's input, uint8 [3, crop, crop].

        Raises:
            RequestError: 400 when it is damaged, 422 when it has too many pixels.
        """
        try:
            opened = decode_picture(picture, "the picture", max_pixels=self._limits.max_pixels)
            return self.classifier.card.preprocessing.view(opened, 0)
        except ImageTooLargeError as error:
            raise RequestError(422, "TooManyPixels", _as_told_to_a_client(error)) from error
        except ImageError as error:
            raise RequestError(400, "BadImage", _as_told_to_a_client(error)) from error
        except MemoryError as error:
            raise RequestError(422, "TooManyPixels", "the picture needs more memory than there is") from error

    def forward(self, inputs: Sequence[torch.Tensor]) -> list[Prediction]:
        """One prediction for each decoded picture."""
        probabilities = self.classifier.probabilities_of_inputs(torch.stack(list(inputs)))
        return [self.classifier.prediction(row) for row in probabilities]

    def sample(self) -> torch.Tensor:
        """An input that is no picture, to see whether the network answers."""
        crop = self.classifier.card.preprocessing.crop_px
        return torch.full((3, crop, crop), 128, dtype=torch.uint8)


def _as_told_to_a_client(error: ImageError) -> str:
    message = ascii(str(error))[1:-1]
    return message if len(message) <= 300 else message[:300] + "..."
