"""What is measured in which order and size, and how long each part may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIMITS: dict[str, float] = {
    "facts": 45,
    "images": 60,
    "features": 90,
    "finetune": 90,
    "decoding": 45,
    "precisions": 45,
    "serving": 60,
    "warm": 60,
    "compile": 90,
    "collectives": 40,
}
"""Seconds that each part may take at most, in the order of the parts."""

FIRST = ("facts", "images")
"""Parts that the others build on, which always run."""

BATCHES = (32, 128, 512, 2048)
SHORTEST = 5.0
"""Seconds below which no part is started."""

_BYTES_PER_IMAGE = 48 << 20
_SHARE_OF_MEMORY = 0.6


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        architecture: the network.
        crop_px: side of its input, for bare passes.
        images: of 500 x 400 pixels.
        large_images: of 2000 x 1500 pixels.
        chunks: images per pass of the extractor.
        batch_size: of fine-tuning.
        epochs: of fine-tuning; the last one counts.
        matrix: side of the matrices.
        copied_bytes: for memory bandwidth.
        seconds: of each rate.
        clients: at the same time, of the endpoint.
        patience: factor of the parts' limits, for busy machines whose rates don't matter.
    """

    architecture: str
    crop_px: int
    images: int
    large_images: int
    chunks: tuple[int, ...]
    batch_size: int
    epochs: int
    matrix: int
    copied_bytes: int
    seconds: float
    clients: tuple[int, ...]
    patience: float = 1.0


FULL = Sizes("resnet50", 224, 8_000, 400, (32, 256), 128, 2, 8_192, 1 << 30, 1.5, (1, 8, 32))
SMALL = Sizes("resnet18", 64, 10, 2, (2,), 2, 1, 256, 1 << 22, 0.02, (1, 4), patience=5.0)


def selected(only: Sequence[str] | None) -> list[str]:
    """The parts to run, in order.

    Example:
        >>> selected(["serving"])
        ['facts', 'images', 'serving']
    """
    return [name for name in LIMITS if only is None or name in only or name in FIRST]


def seconds_for(part: str, seconds_left: float, patience: float = 1.0) -> float | None:
    """How long a part may take if the whole has this much time left; None if that isn't worth a start.

    Example:
        >>> seconds_for("facts", 300.0), seconds_for("facts", 20.0), seconds_for("facts", 1.0)
        (45.0, 20.0, None)
    """
    seconds = min(LIMITS[part] * patience, seconds_left)
    return seconds if seconds >= SHORTEST else None


def batch_sizes(memory_bytes: int) -> list[int]:
    """Images per bare forward pass, up to what the memory of the device surely holds; the smallest in any case.

    Example:
        >>> batch_sizes(16 << 30), batch_sizes(1 << 30)
        ([32, 128], [32])
    """
    most = max(memory_bytes * _SHARE_OF_MEMORY / _BYTES_PER_IMAGE, BATCHES[0])
    return [size for size in BATCHES if size <= most]
