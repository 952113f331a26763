"""What decides an image's features besides its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from breedclf.files.file_cache import cache_key

FORMAT = 3


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that a feature depends on besides the image; equal specs share their features.

    Args:
        weights: fingerprint of the pretrained weights.
        stages: what is frozen: `head` for the features of the whole backbone, or the stage whose input they are.
        preprocessing: how images are resized, cropped and normalized.
        precision: fp32, bf16 or int8.
        engine: what computes, as far as it may change the last digits: versions, device, instruction set, chunk size.
        view: the number of the view, and the seed of random ones.
        name: of the backbone and its weights, for people; it isn't part of the key.
    """

    weights: str
    stages: str
    preprocessing: Mapping[str, object]
    precision: str
    engine: str
    view: tuple[int, int] = (0, 0)
    name: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """Identifies the features: 32 hexadecimal digits."""
        parts = {name: value for name, value in asdict(self).items() if name != "name"}
        return cache_key(**parts, format=FORMAT)
