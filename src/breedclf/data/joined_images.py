"""The images of several lists as one list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from breedclf.data.images import ImageLike
from breedclf.data.split import SplitImages


@dataclass(frozen=True)
class JoinedImages:
    """The images of several lists, one list after the other."""

    parts: Sequence[SplitImages]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1] if self.parts else 0

    def read(self, index: int) -> ImageLike:
        images, at = self._place(index)
        return images.read(at)

    def name(self, index: int) -> str:
        images, at = self._place(index)
        return images.name(at)

    def file_or_digest(self, index: int) -> Path | bytes:
        images, at = self._place(index)
        return images.file_or_digest(at)

    def _place(self, index: int) -> tuple[SplitImages, int]:
        part = bisect_right(self._ends, index)
        return self.parts[part], index - (self._ends[part - 1] if part else 0)
