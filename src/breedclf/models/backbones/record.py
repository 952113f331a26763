"""`BackboneRecord`: what a model directory says about the pretrained weights it was trained from."""

from __future__ import annotations

from typing import Literal

from breedclf.config import Settings


class BackboneRecord(Settings):
    """The network's library and its version in training, and the pretrained weights with their license.

    `license` and `source`, a URL, are None for files and random weights, whose license breedclf doesn't know.
    """

    library: Literal["torchvision", "timm"]
    library_version: str
    weights: str
    license: str | None = None
    source: str | None = None
