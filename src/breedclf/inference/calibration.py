"""How a model's probabilities were calibrated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from breedclf.config import Settings


class Calibration(Settings):
    """What the model card says about its temperature, by which the head's weights are already divided.

    `nll_before` and `nll_after` are mean negative log-likelihoods in nats of `images` validation images. If `source` is
    `folds`, the temperature was also fitted on training images, each classified by a head that was trained on others.
    """

    temperature: float = Field(gt=0)
    nll_before: float
    nll_after: float
    images: int = Field(ge=0)
    source: Literal["valid", "folds"]

    def __str__(self) -> str:
        if self.temperature == 1:
            return f"not calibrated: no temperature is surely better than 1 (NLL {self.nll_before:.3f})"
        return f"calibrated: NLL {self.nll_before:.3f} -> {self.nll_after:.3f}, temperature {self.temperature:.2f}"
