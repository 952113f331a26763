"""What all parts of an evaluation share: their base class, their arrays, and the interval of a proportion."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from breedclf.reporting.proportion import NORMAL_95, wilson_interval

__all__ = ["NORMAL_95", "Probabilities", "Result", "Targets", "wilson_interval"]

Probabilities = npt.NDArray[np.floating]
Targets = npt.NDArray[np.integer]


class Result(BaseModel):
    """Base class of the parts of an evaluation; field names are the keys of its JSON."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
