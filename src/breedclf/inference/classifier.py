"""Classify images with a trained model; everything it needs is in the model directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

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
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.model_directory import ModelCard, read_artifact
from breedclf.inference.prediction import NONE_OF_THESE, Prediction, RankedClass
from breedclf.models.network import for_inference, network_from
from breedclf.runtime.device import Compute, compute_for
from breedclf.runtime.forking import check_usable

__all__ = ["NONE_OF_THESE", "Classifier", "ImageLike", "Prediction", "RankedClass"]

ImageLike = StrPath | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, a PIL image, or a uint8 array [height, width] or [height, width, 3 or 4]."""


class Classifier:
    """A trained model, loaded from its model directory and checked.

    Args:
        model: the model directory that training wrote (`OUTPUT/model`).
        device: where to compute; `auto` uses a GPU if there is one.
        precision: `auto` uses bf16 if the hardware supports it.
        batch_size: number of images per pass through the network.

    Raises:
        ArtifactError: the directory is missing, damaged, not written by breedclf, or newer than this version.
        ConfigError: this machine doesn't have the requested device.

    Example:
        >>> Classifier("runs/train/model").predict("dog.jpg").top(5)  # doctest: +SKIP
    """

    @accept_old_keywords
    def __init__(
        self, model: StrPath, *, device: Device = "auto", precision: Precision = "auto", batch_size: int = 32
    ) -> None:
        self.artifact: Path = user_path(model, "model")
        self.card: ModelCard
        self.card, state = read_artifact(self.artifact)
        self.batch_size = batch_size
        self.compute: Compute = compute_for(device, precision)
        self.network: torch.nn.Module = for_inference(network_from(self.card.architecture, state), self.compute)

    @property
    def precision(self) -> str:
        """The precision of the network: fp32 or bf16."""
        return self.compute.precision

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes as they are shown to people, in the order of the network's outputs."""
        return self.card.class_names

    @overload
    def predict(self, images: ImageLike) -> Prediction: ...  # type: ignore[overload-overlap]  # text is one image

    @overload
    def predict(self, images: Sequence[ImageLike]) -> list[Prediction]: ...

    def predict(self, images: ImageLike | Sequence[ImageLike]) -> Prediction | list[Prediction]:
        """Rank the classes for one image, or for each image of a list.

        Args:
            images: a path, the bytes of a file, a PIL image, a uint8 array [height, width] or [height, width, 3 or 4],
                or a list or another sequence of these.

        Raises:
            ImageError: an image can't be read; the message names it.
            ArtifactError: the probabilities contain NaN.
        """
        if isinstance(images, (str, os.PathLike, bytes, bytearray, Image.Image, np.ndarray)):
            return self._rank(self.probabilities([images]))[0]
        return self._rank(self.probabilities(images))

    def probabilities(self, images: Sequence[ImageLike]) -> torch.Tensor:
        """The probabilities of N images, float32 [N, C] on the CPU; column i belongs to `card.labels[i]`.

        Raises:
            ImageError: an image can't be read.
            ArtifactError: the probabilities contain NaN.
        """
        found = torch.empty(len(images), len(self.card.labels))
        for start in range(0, len(images), self.batch_size):
            batch = [self._input(image) for image in images[start : start + self.batch_size]]
            found[start : start + len(batch)] = self.probabilities_of_inputs(torch.stack(batch))
        return check_finite(found)

    @torch.inference_mode()
    def probabilities_of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """The probabilities of images that are already cropped, uint8 [N, 3, crop, crop]."""
        check_usable(self.compute.device.type)
        inputs = inputs.to(self.compute.device)
        scores = self.network(self.card.preprocessing.normalize(inputs, self.compute.dtype))
        return torch.softmax(scores.float(), dim=1).cpu()

    def prediction(self, probabilities: torch.Tensor) -> Prediction:
        """Rank one row of probabilities [C].

        Raises:
            ArtifactError: they contain NaN.
        """
        return ranked_prediction(self.card, probabilities)

    def _rank(self, probabilities: torch.Tensor) -> list[Prediction]:
        return [self.prediction(row) for row in probabilities]

    def _input(self, image: ImageLike) -> torch.Tensor:
        preprocessing = self.card.preprocessing
        return preprocessing.view(_upright(image, preprocessing.enough_px(0), preprocessing.color), 0)


def ranked_prediction(card: ModelCard, probabilities: torch.Tensor) -> Prediction:
    """Rank one row of probabilities [C], from any engine.

    Raises:
        ArtifactError: they contain NaN.
    """
    values, order = check_finite(probabilities).sort(descending=True, stable=True)
    ranked = tuple(
        RankedClass(card.class_names[index], card.labels[index], value)
        for value, index in zip(values.tolist(), order.tolist(), strict=True)
    )
    return Prediction(ranked, known=card.min_confidence is None or ranked[0].probability >= card.min_confidence)


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


def _upright(image: ImageLike, enough_px: int | None, color: Color) -> torch.Tensor:
    match image:
        case str() | os.PathLike():
            return decode_image(user_path(as_path(image), "image"), enough_px=enough_px, color=color)
        case bytes() | bytearray():
            return decode_image(bytes(image), enough_px=enough_px, color=color)
        case Image.Image():
            return as_tensor(upright_rgb(image, color=color))
        case np.ndarray():
            return as_tensor(upright_rgb(image_from_array(image)))
    raise ImageError(f"an image must be a path, bytes, a PIL image or a uint8 array, not {type(image).__name__}")
