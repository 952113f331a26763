"""A trained model that names what is in a picture; everything it needs to know comes from the artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from breedclf.config import Device, Precision
from breedclf.config.aliases import accept_old_keywords
from breedclf.data.decoding import as_tensor, decode_image
from breedclf.data.formats.color import Color
from breedclf.data.images import as_path, image_from_array, upright_rgb
from breedclf.errors import ArtifactError, ImageError
from breedclf.files.paths import user_path
from breedclf.inference.model_directory import ModelCard, read_artifact
from breedclf.inference.prediction import NONE_OF_THESE, Prediction, RankedClass
from breedclf.models.network import for_inference, network_from
from breedclf.runtime.device import Compute, compute_for
from breedclf.runtime.forking import check_usable

__all__ = ["NONE_OF_THESE", "Classifier", "Picture", "Prediction", "RankedClass"]

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]


class Classifier:
    """A model folder, loaded and checked.

    Args:
        model: the folder that a training wrote (`OUTPUT/model`).
        device: where to compute; `auto` takes a GPU when there is one.
        precision: `auto` takes bf16 where the hardware has it.
        batch_size: how many pictures go through the network at a time.

    Raises:
        ArtifactError: the folder is missing, damaged, foreign or newer than this breedclf.

    Example:
        >>> Classifier("runs/train/model").predict("dog.jpg").top(5)  # doctest: +SKIP
    """

    @accept_old_keywords
    def __init__(
        self, model: str | Path, *, device: Device = "auto", precision: Precision = "auto", batch_size: int = 32
    ) -> None:
        self.artifact: Path = user_path(model, "model")
        self.card: ModelCard
        self.card, state = read_artifact(self.artifact)
        self.batch_size = batch_size
        self.compute: Compute = compute_for(device, precision)
        self.network: torch.nn.Module = for_inference(network_from(self.card.architecture, state), self.compute)

    @property
    def precision(self) -> str:
        """fp32 or bf16: what the network computes in."""
        return self.compute.precision

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.card.class_names

    @overload
    def predict(self, pictures: Picture) -> Prediction: ...

    @overload
    def predict(self, pictures: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def predict(self, pictures: Picture | list[Any] | tuple[Any, ...]) -> Prediction | list[Prediction]:
        """Rank the classes for one picture, or for each of a list.

        A picture is a path, the bytes of a file, a PIL image, or a uint8 array [height, width] or
        [height, width, 3 or 4].

        Raises:
            ImageError: a picture can't be read; the message names it.
            ArtifactError: the model's answer holds NaN.
        """
        if isinstance(pictures, (str, Path, bytes, bytearray, Image.Image, np.ndarray)):
            return self._rank(self.probabilities([pictures]))[0]
        return self._rank(self.probabilities(pictures))

    def probabilities(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """float32 [N, C] on the CPU, columns as in `card.labels`.

        Raises:
            ImageError: a picture can't be read.
            ArtifactError: the model's answer holds NaN.
        """
        found = torch.empty(len(pictures), len(self.card.labels))
        for start in range(0, len(pictures), self.batch_size):
            batch = [self._input(picture) for picture in pictures[start : start + self.batch_size]]
            found[start : start + len(batch)] = self.probabilities_of_inputs(torch.stack(batch))
        return numbers(found)

    @torch.inference_mode()
    def probabilities_of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same for pictures already cropped: uint8 [N, 3, crop, crop]."""
        check_usable(self.compute.device.type)
        inputs = inputs.to(self.compute.device)
        scores = self.network(self.card.preprocessing.normalise(inputs, self.compute.dtype))
        return torch.softmax(scores.float(), dim=1).cpu()

    def prediction(self, probabilities: torch.Tensor) -> Prediction:
        """Name and rank one row of probabilities [C]."""
        return ranked_prediction(self.card, probabilities)

    def _rank(self, probabilities: torch.Tensor) -> list[Prediction]:
        return [self.prediction(row) for row in probabilities]

    def _input(self, picture: Picture) -> torch.Tensor:
        preprocessing = self.card.preprocessing
        return preprocessing.view(_upright(picture, preprocessing.enough_px(0), preprocessing.color), 0)


def ranked_prediction(card: ModelCard, probabilities: torch.Tensor) -> Prediction:
    """Name and rank one row of probabilities [C], whatever computed them.

    Raises:
        ArtifactError: they hold NaN.
    """
    values, order = numbers(probabilities).sort(descending=True, stable=True)
    ranked = tuple(
        RankedClass(card.class_names[index], card.labels[index], value)
        for value, index in zip(values.tolist(), order.tolist(), strict=True)
    )
    return Prediction(ranked, known=card.min_confidence is None or ranked[0].probability >= card.min_confidence)


def numbers(probabilities: torch.Tensor) -> torch.Tensor:
    """The same probabilities.

    Raises:
        ArtifactError: one of them is NaN.
    """
    if bool(probabilities.isfinite().all()):
        return probabilities
    raise ArtifactError(
        "the model's probabilities aren't numbers (NaN or infinite): its weights are so large that a sum overflows; "
        "train it again, with a lower learning_rate"
    )


def _upright(picture: Picture, enough_px: int | None, color: Color) -> torch.Tensor:
    match picture:
        case str() | Path():
            return decode_image(user_path(as_path(picture), "picture"), enough_px=enough_px, color=color)
        case bytes() | bytearray():
            return decode_image(bytes(picture), enough_px=enough_px, color=color)
        case Image.Image():
            return as_tensor(upright_rgb(picture, color=color))
        case np.ndarray():
            return as_tensor(upright_rgb(image_from_array(picture)))
    raise ImageError(f"a picture must be a path, bytes, a PIL image or a uint8 array, not {type(picture).__name__}")
