"""The file and the preprocessing of weights: torchvision's, timm's or the user's own."""

from __future__ import annotations

from pathlib import Path

from breedclf.config import WEIGHTS_NAMES
from breedclf.config.architectures import TIMM
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import WeightsError
from breedclf.models.backbones.published_weights import torchvision_weights, usable_weights
from breedclf.models.backbones.timm_networks import timm_preprocessing
from breedclf.models.download import CONNECT_TIMEOUT_SECONDS, REMEDY, download, downloads_folder, wrong_content
from breedclf.runtime.vision import get_model_weights


def weights_file(architecture: str, weights: str, *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS) -> Path:
    """The file of `weights`: a name of torchvision's weights, downloaded if necessary, or a path.

    Raises:
        WeightsError: there are no such weights, they can't be downloaded, or the file is named like one of
            torchvision's and has other content.
    """
    if weights in WEIGHTS_NAMES:
        return pretrained_file(architecture, weights, timeout_seconds=timeout_seconds)
    path = Path(weights)
    if architecture.startswith(TIMM):
        return path
    published = {known.url.rpartition("/")[2] for known in get_model_weights(architecture)}
    if path.name in published and path.is_file() and (problem := wrong_content(path)):
        raise WeightsError(f"weights file {path} is damaged, or isn't what its name says: {problem}; {REMEDY}")
    return path


def preprocessing_for(architecture: str, weights: str) -> Preprocessing:
    """The preprocessing that the weights were trained with; for files and random weights, that of IMAGENET1K_V1.

    Raises:
        WeightsError: the architecture has no weights of that name.
    """
    if architecture.startswith(TIMM):
        return timm_preprocessing(architecture.removeprefix(TIMM))
    is_named = weights in WEIGHTS_NAMES and weights != "none"
    transforms = torchvision_weights(architecture, weights if is_named else _usual_weights(architecture)).transforms()
    return Preprocessing(
        resize_px=transforms.resize_size[0],
        crop_px=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        color="srgb",
    )


def _usual_weights(architecture: str) -> str:
    """The first of those for the smallest images: IMAGENET1K_V1, if there are such."""
    enum = get_model_weights(architecture)
    return min(usable_weights(architecture), key=lambda name: enum[name].transforms().crop_size[0])


def pretrained_file(
    architecture: str,
    name: str,
    *,
    timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    total_seconds: float | None = None,
) -> Path:
    """The file of published weights, downloaded unless it is already there; whether their license binds isn't checked.

    Raises:
        WeightsError: there are no such weights, or the download fails (or exceeds `total_seconds`, if given; timm's
            downloads can't be limited).
    """
    if architecture.startswith(TIMM):
        from breedclf.models.backbones.timm_weights import timm_weights_file

        return timm_weights_file(architecture, timeout_seconds=timeout_seconds)
    url = torchvision_weights(architecture, name).url
    return download(url, downloads_folder(), timeout_seconds=timeout_seconds, total_seconds=total_seconds)
