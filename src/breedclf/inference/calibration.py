"""How a model's probabilities were calibrated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from breedclf.config import Settings


class Calibration(Settings):
    """What the model card says about its temperature, by which the head's weights are already divided.

    `nll_before` and `nll_after` are mean negative log-likelihoods in nats of `images` images that weren't trained on:
    validation images, or the training images out of fold.
    """

    temperature: float = Field(gt=0)
    nll_before: float
    nll_after: float
    images: int = Field(ge=0)
    source: Literal["valid", "folds"]
