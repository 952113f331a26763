"""Features to store in tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.features.store.spec import FeatureSpec

SPEC = FeatureSpec("0123", "head", {"crop_px": 224}, "fp32", "engine", name="resnet18 none")


def spec(view: int = 0) -> FeatureSpec:
    """One spec per view."""
    return replace(SPEC, view=(view, 0))


def digests_of(numbers: Sequence[int]) -> NDArray[np.uint8]:
    """The digests of images, which are numbers here."""
    contents = (hashlib.blake2b(str(number).encode(), digest_size=16).digest() for number in numbers)
    return np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 16)


def features_of(numbers: Sequence[int], size: int = 8) -> torch.Tensor:
    """The features of images, float32 [N, size]."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None] * 1000 + torch.arange(size)
