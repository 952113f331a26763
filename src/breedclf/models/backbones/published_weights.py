"""Published weights of torchvision and timm: their URL, license, published accuracy and size."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cache

from breedclf.config.architectures import TIMM
from breedclf.config.choices import START_MODEL, WEIGHTS_NAMES
from breedclf.errors import WeightsError
from breedclf.models.backbones.licenses import NOT_STATED, license_binds, license_name
from breedclf.runtime.vision import WeightsEnum, get_model_weights

log: logging.Logger = logging.getLogger(__name__)

_TORCHVISION_LICENSES = "https://github.com/pytorch/vision#pre-trained-model-license"
_TORCHVISION_LICENSE = "BSD-3-Clause (torchvision's code)"
"""torchvision states no license of these weights; they may have conditions from the data they were trained on."""
_SWAG = "cc-by-nc-4.0"
"""torchvision links the license of SWAG's weights, and names it on the same page."""


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that can be downloaded, and what is known about them before that.

    Args:
        architecture: as in the settings.
        weights: their name, such as `IMAGENET1K_V2`, or `pretrained`.
        url: of the file, or the page on Hugging Face that has it.
        license: its SPDX name, if it has one, or `not stated`.
        license_url: its text, or the page that names it.
        license_binds: whether it restricts the use of the weights, or isn't known to allow any use.
        top1: published accuracy on ImageNet-1k's validation images, 0 to 1; None if it isn't known.
        top1_source: who published it; empty if it isn't known.
        size_mb: of the file, in units of 2**20 bytes; None if it isn't known.
    """

    architecture: str
    weights: str
    url: str
    license: str
    license_url: str
    license_binds: bool
    top1: float | None
    top1_source: str
    size_mb: float | None


def published_weights(architecture: str, weights: str) -> PublishedWeights | None:
    """What is known about the weights before their download; None for a file, random weights and a model's.

    Raises:
        WeightsError: the architecture has no weights of that name.
        MissingExtraError: it is timm's, and timm isn't installed.
        ConfigError: timm has no such network.

    Example:
        >>> swag = published_weights("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1")
        >>> swag.license, swag.license_binds, swag.top1
        ('CC-BY-NC-4.0', True, 0.81886)
        >>> published_weights("vit_b_16", "none") is None
        True
    """
    if weights not in WEIGHTS_NAMES or weights in ("none", START_MODEL):
        return None
    if architecture.startswith(TIMM):
        from breedclf.models.backbones.timm_weights import published_by_timm

        return published_by_timm(architecture, weights)
    return _by_torchvision(architecture, torchvision_weights(architecture, weights))


def check_license(architecture: str, weights: str, *, accepted: bool) -> PublishedWeights | None:
    """The published weights, if their license doesn't bind or was accepted, which is logged; None as above.

    Raises:
        WeightsError: the license binds and wasn't accepted, or there are no such weights.
        MissingExtraError: the architecture is timm's, and timm isn't installed.
    """
    published = published_weights(architecture, weights)
    if published is None:
        return None
    url = published.license_url
    if published.license_binds:
        if not accepted:
            raise WeightsError(
                f"the license of weights={weights} of {architecture} is {published.license}, which binds: it restricts "
                f"what they, and models trained from them, may be used for. Read {url}; "
                "to accept it, pass --accept-license (accept_license=True), or choose other weights "
                "(`breedclf backbones list` shows licenses). Nothing was downloaded"
            )
        _warn_once(f"the license {published.license} of the weights {weights} of {architecture} is accepted: {url}")
    elif published.license == NOT_STATED:
        _warn_once(f"the license of the weights {weights} of {architecture} isn't stated: {url}")
    return published


@cache
def _warn_once(message: str) -> None:
    """Log a warning once in this process, however many runs it concerns."""
    log.warning("%s", message)


def torchvision_weights(architecture: str, name: str) -> WeightsEnum:
    """torchvision's entry for the weights `name`, with their URL and transforms.

    Raises:
        WeightsError: the architecture has no weights of that name, or they can't be fine-tuned.
    """
    enum = get_model_weights(architecture)
    if name not in enum.__members__:
        raise WeightsError(
            f"there are no {name} weights of {architecture}; there are {', '.join(usable_weights(architecture))}"
        )
    entry = enum[name]
    if (problem := _unusable(architecture, entry)) is not None:
        raise WeightsError(f"{problem}; use {', '.join([*usable_weights(architecture), 'a file'])}")
    return entry


def usable_weights(architecture: str) -> list[str]:
    """The names of torchvision's weights that fit its network as it is built here."""
    return [entry.name for entry in get_model_weights(architecture) if _unusable(architecture, entry) is None]


def _unusable(architecture: str, entry: WeightsEnum) -> str | None:
    """Why weights can't be used; None if they can."""
    if _top1(entry) is None:
        return (
            f"the weights {entry.name} of {architecture} have no values for the layers between the convolutions and "
            "the head"
        )
    side = entry.transforms().crop_size[0]
    if architecture.startswith("vit") and side != 224:
        return (
            f"the weights {entry.name} of {architecture} need images of {side} px, but torchvision's network is built "
            f"for 224 px (timm has networks of this kind for larger images, such as {TIMM}vit_base_patch16_384)"
        )
    return None


def _by_torchvision(architecture: str, entry: WeightsEnum) -> PublishedWeights:
    swag = _SWAG if "license" in entry.meta else None
    return PublishedWeights(
        architecture=architecture,
        weights=entry.name,
        url=entry.url,
        license=_TORCHVISION_LICENSE if swag is None else license_name(swag),
        license_url=_TORCHVISION_LICENSES if swag is None else str(entry.meta["license"]),
        license_binds=license_binds(swag),
        top1=_top1(entry),
        top1_source="torchvision",
        size_mb=entry.meta["_file_size"],
    )


def _top1(entry: WeightsEnum) -> float | None:
    percent = entry.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return None if math.isnan(percent) else round(percent / 100, 5)
