"""How far a pass over the images has come before training starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureProgress:
    """The progress of computing features or, if they aren't cached, of checking that the images can be read.

    Args:
        split: "train" or "valid".
        view: 0 is the center crop.
        done: the number of images done.
        total: the number of images of this view.
    """

    split: str
    view: int
    done: int
    total: int
