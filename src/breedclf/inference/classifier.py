"""Classify images with a trained model; everything it needs is in the model directory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from operator import length_hint
from typing import TYPE_CHECKING, Literal, overload

import torch
from torch import nn

from breedclf.config import Device, Precision
from breedclf.config.aliases import accept_old_keywords
from breedclf.config.evaluation import PredictionConfig
from breedclf.data.any_image import AnyImage, given_image, is_one_image, several_images
from breedclf.errors import ArtifactError, ConfigError, ImageError
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.batches import Batch, batches, input_of, thumbnail
from breedclf.inference.conformal import check_coverage
from breedclf.inference.loaded_model import LoadedModel
from breedclf.inference.model_directory import read_artifact
from breedclf.inference.prediction import NONE_OF_THESE, Prediction, RankedClass
from breedclf.inference.ranking import check_finite, ranked_prediction
from breedclf.models.backbones.backbone import find_backbone
from breedclf.runtime.row_buffer import RowBuffer

if TYPE_CHECKING:
    from breedclf.explanations.explainer import Explainer
    from breedclf.explanations.explanation import Explanation

__all__ = [
    "NONE_OF_THESE",
    "AnyImage",
    "Classifier",
    "ImageLike",
    "Prediction",
    "RankedClass",
    "check_finite",
    "ranked_prediction",
]

ImageLike = AnyImage

OnError = Literal["raise", "return"]


class Classifier(LoadedModel):
    """A trained model, loaded from its model directory and checked.

    Args:
        model: the model directory that training wrote (`OUTPUT/model`).
        device: where to compute; `auto` uses a GPU if there is one.
        precision: `auto` uses bf16 if the hardware is faster in it.
        batch_size: number of images per pass through the network.
        tta: test-time augmentation: average the probabilities of each image and its mirror image, in two passes.

    Raises:
        ArtifactError: the directory is missing, damaged, not written by breedclf, or newer than this version.
        ConfigError: this machine doesn't have the requested device.

    Example:
        >>> Classifier("runs/train/model").predict("dog.jpg").top(5)  # doctest: +SKIP
    """

    @accept_old_keywords
    def __init__(
        self,
        model: StrPath,
        *,
        device: Device = "auto",
        precision: Precision = "auto",
        batch_size: int = 32,
        tta: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: choose 1 or more")
        super().__init__(user_path(model, "model"), device, precision, tta=PredictionConfig(tta=tta).tta)
        self.batch_size = batch_size

    def __repr__(self) -> str:
        return (
            f"Classifier({str(self.artifact)!r}, {self.card.architecture}, {len(self.card.labels)} classes, "
            f"{self.compute.device.type}, {self.precision})"
        )

    @property
    def network(self) -> nn.Module:
        """The fused network, which has no gradients. Deprecated: use `torch_module()`."""
        warnings.warn(
            "Classifier.network is fused for inference and has no gradients; use Classifier.torch_module()",
            DeprecationWarning,
            stacklevel=2,
        )
        return self._network

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes as they are shown to people, in the order of the network's outputs."""
        return self.card.class_names

    @overload
    def predict(self, images: AnyImage, *, coverage: float | None = None) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, images: Iterable[AnyImage], *, coverage: float | None = None) -> list[Prediction]: ...

    def predict(
        self, images: AnyImage | Iterable[AnyImage], *, coverage: float | None = None
    ) -> Prediction | list[Prediction]:
        """Rank the classes for one image, or for each of several.

        Args:
            images: a path, the bytes of a file, a file opened in binary mode, a PIL image, a uint8 array
                [height, width] or [height, width, 3 or 4], or a uint8 tensor [1 or 3, height, width]; or a list,
                generator or other iterable of these.
            coverage: the share of images, between 0 and 1, whose right class is to be in `Prediction.prediction_set`;
                None for no sets.

        Raises:
            ImageError: an image can't be read; the message names it, and in a list its position.
            ArtifactError: the probabilities contain NaN.
            ConfigError: `coverage` isn't between 0 and 1, or the model had too few validation images for it.
        """
        if not is_one_image(images):
            return list(self.predict_iter(several_images(images), coverage=coverage))
        one = input_of(given_image(images), self.preprocessing)
        assert one.crop is not None
        (prediction,) = self.predictions_of_inputs(one.crop[None], coverage)
        return replace(prediction, image=one.file or thumbnail(one.crop))

    @overload
    def predict_iter(
        self, images: Iterable[AnyImage], *, on_error: Literal["raise"] = "raise", coverage: float | None = None
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_iter(
        self, images: Iterable[AnyImage], *, on_error: Literal["return"], coverage: float | None = None
    ) -> Iterator[Prediction | ImageError]: ...

    def predict_iter(
        self, images: Iterable[AnyImage], *, on_error: OnError = "raise", coverage: float | None = None
    ) -> Iterator[Prediction] | Iterator[Prediction | ImageError]:
        """The predictions of any number of images, in order, in bounded memory.

        Threads decode the next batch while the network computes; they end with the iterator, also if it is closed or
        dropped early. Up to `2 * batch_size` images are taken from `images` before their predictions are returned, in
        the thread that asks for them. An error of `images` itself is raised after the predictions before it.

        Args:
            images: any iterable of what `predict` accepts; it may be infinite.
            on_error: `raise` an unreadable image's error in its turn, or `return` it in place of the prediction.
            coverage: as in `predict`.

        Raises:
            ImageError: an image can't be read; the message has its position, counted from 0.
            ArtifactError: the probabilities contain NaN.
            ConfigError: `coverage` isn't between 0 and 1, or the model had too few validation images for it.

        Example:
            >>> from pathlib import Path
            >>> for prediction in classifier.predict_iter(Path("photos").rglob("*.jpg")):  # doctest: +SKIP
            ...     print(prediction)
        """
        if on_error not in ("raise", "return"):
            raise ConfigError(f"on_error={on_error!r}: use raise or return")
        if coverage is not None:
            check_coverage(self.card, coverage)
        return self._predictions(several_images(images), on_error, coverage)

    def explain(self, image: AnyImage, class_name: str | None = None, *, coverage: float | None = None) -> Explanation:
        """How much each place of an image speaks for a class.

        A network that ends with average pooling has an exact class activation map: it sums to the score, and takes no
        more than the prediction. Other networks have Grad-CAM; `method` and `is_exact` say which. With `tta` the plain
        crop is explained, not its mirror image.

        Args:
            image: what `predict` accepts as one image.
            class_name: the class as shown to people or as its folder is named; the most probable one if None.
            coverage: of the prediction set of `Explanation.prediction`, as in `predict`.

        Raises:
            ImageError: the image can't be read.
            ConfigError: the model has no such class, `image` isn't one image, or the network has no map.

        Example:
            >>> explanation = classifier.explain("dog.jpg")  # doctest: +SKIP
            >>> explanation.image().save("why.png")  # doctest: +SKIP
            >>> explanation.difference("Harrier").image().save("why-not-harrier.png")  # doctest: +SKIP
        """
        if coverage is not None:
            check_coverage(self.card, coverage)
        explainer = self._explainer
        index = None if class_name is None else explainer.names.index(class_name)
        crop = input_of(given_image(image), self.preprocessing).crop
        assert crop is not None
        (explanation,) = explainer.explanations(crop[None], [index], coverage)
        return explanation

    @cached_property
    def _explainer(self) -> Explainer:
        from breedclf.explanations.explainer import Explainer

        return Explainer(self)

    def features(self, images: AnyImage | Iterable[AnyImage]) -> torch.Tensor:
        """The features of N images, float32 [N, D] on the CPU: the input of the classification head.

        For most networks this is the output of a global pooling; D is 2,048 for a ResNet-50. A model whose head alone
        was trained has the features of its pretrained weights, to the bit those of training with the same precision and
        batch size. On hardware where results depend on the number of images in a pass, that holds for full batches.

        Args:
            images: what `predict` accepts; one image gives [1, D].

        Raises:
            ImageError: an image can't be read; the message has its position, counted from 0.

        Example:
            >>> features = classifier.features(["a.jpg", "b.jpg"])  # doctest: +SKIP
            >>> float(torch.cosine_similarity(features[0], features[1], dim=0))  # doctest: +SKIP
            0.93
        """
        given = [images] if is_one_image(images) else several_images(images)
        rows = RowBuffer(length_hint(given, self.batch_size), torch.empty(0, self._head.in_features))
        for batch in self._batches(given):
            rows.append(self._forward(self._network[0], batch.crops).cpu())
        return rows.tensor()

    def torch_module(self) -> nn.Module:
        """The network as a plain module of torchvision or timm: float32, on the CPU, in eval mode, with gradients.

        It is a copy of the weights in the model directory, and its `state_dict()` has that library's names. It maps
        what `inputs` returns, float32 [N, 3, crop, crop], to scores [N, C]; softmax of the scores gives the
        probabilities, up to the rounding of the classifier's precision.

        Raises:
            ArtifactError: the model directory was deleted, damaged or replaced since it was loaded.
        """
        card, state = read_artifact(self.artifact)
        if card.weights_sha256 != self.card.weights_sha256:
            raise ArtifactError(f"{self.artifact} was replaced by another model since it was loaded: load it again")
        return find_backbone(card.architecture).network_from(state).requires_grad_(True)

    def inputs(self, images: AnyImage | Iterable[AnyImage]) -> torch.Tensor:
        """The inputs of `torch_module()` for N images, cropped and normalized: float32 [N, 3, crop, crop] on the CPU.

        Raises:
            ImageError: an image can't be read; the message has its position, counted from 0.
        """
        given = [images] if is_one_image(images) else several_images(images)
        crops = [batch.crops for batch in self._batches(given)]
        side = self.preprocessing.crop_px
        return self.preprocessing.normalize(torch.cat(crops) if crops else torch.empty(0, 3, side, side))

    def probabilities(self, images: Iterable[AnyImage]) -> torch.Tensor:
        """The probabilities of N images, float32 [N, C] on the CPU; column i belongs to `card.labels[i]`.

        Raises:
            ImageError: an image can't be read; the message has its position, counted from 0.
            ArtifactError: the probabilities contain NaN.
        """
        given = several_images(images)
        rows = RowBuffer(length_hint(given, self.batch_size), torch.empty(0, len(self.card.labels)))
        for batch in self._batches(given):
            rows.append(self.probabilities_of_inputs(batch.crops))
        return check_finite(rows.tensor())

    def probabilities_of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """The probabilities of images that are already cropped, uint8 [N, 3, crop, crop]."""
        return self._outputs(inputs)[0]

    def predictions_of_inputs(self, inputs: torch.Tensor, coverage: float | None = None) -> list[Prediction]:
        """The predictions of images that are already cropped, uint8 [N, 3, crop, crop]; `coverage` as in `predict`.

        Raises:
            ArtifactError: the probabilities contain NaN.
            ConfigError: `coverage` isn't between 0 and 1, or the model had too few validation images for it.
        """
        return self._ranked(*self._outputs(inputs), coverage)

    def predictions_of_features(
        self, features: torch.Tensor, inputs: torch.Tensor, coverage: float | None = None
    ) -> list[Prediction]:
        """The predictions of features [N, D], which `parts` computes for these crops; with `tta`, their mirror images
        are computed here.

        Raises:
            ArtifactError: the probabilities contain NaN.
        """
        return self._ranked(self._averaged(features, inputs), features, coverage)

    def _ranked(self, probabilities: torch.Tensor, features: torch.Tensor, coverage: float | None) -> list[Prediction]:
        bank = self._bank
        distances = [None] * len(features) if bank is None else bank.distances(features).tolist()
        return [
            ranked_prediction(self.card, row, distance, coverage)
            for row, distance in zip(probabilities, distances, strict=True)
        ]

    def prediction(self, probabilities: torch.Tensor) -> Prediction:
        """Rank one row of probabilities [C], without a distance.

        Raises:
            ArtifactError: they contain NaN.
        """
        return ranked_prediction(self.card, probabilities)

    def _batches(self, images: Iterable[AnyImage]) -> Iterator[Batch]:
        """Batches without unreadable images: their error is raised."""
        for batch in batches(images, self.preprocessing, self.batch_size):
            for image in batch.images:
                if image.error is not None:
                    raise image.error
            yield batch

    def _predictions(
        self, images: Iterable[AnyImage], on_error: OnError, coverage: float | None
    ) -> Iterator[Prediction | ImageError]:
        for batch in batches(images, self.preprocessing, self.batch_size):
            predictions = iter(self.predictions_of_inputs(batch.crops, coverage)) if len(batch.crops) else iter(())
            for image in batch.images:
                if image.error is None:
                    yield replace(next(predictions), image=image.file)
                elif on_error == "return":
                    yield image.error
                else:
                    raise image.error
