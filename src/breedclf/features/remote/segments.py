"""Index objects of a feature set in S3: which images its segments contain, as bytes and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from breedclf.data.digests import DIGEST_BYTES
from breedclf.features.store.checksums import row_checksums
from breedclf.features.store.row_type import RowType

FORMAT = "1"
_METADATA_LENGTH_BYTES = 8  # of the header at the start of a safetensors file


def checksums_of(digests: NDArray[np.uint8], rows: NDArray[np.uint8], row_type: RowType) -> NDArray[np.uint32]:
    """A CRC-32 of each row, uint8 [N, row_bytes], with its image's digest, dtype and shape; uint32 [N]."""
    start = zlib.crc32(f"{row_type.dtype} {list(row_type.shape)}".encode())
    return row_checksums(rows, (zlib.crc32(digest, start) for digest in digests))


@dataclass(frozen=True)
class SegmentIndex:
    """The images of one or more segments, in the order of their rows.

    Args:
        row_type: dtype and shape of the rows.
        segments: the names of the segments.
        counts: the rows of each segment.
        digests: uint8 [N, 16], of all rows of the first segment, then of the second, and so on.
        checksums: uint32 [N].
        covers: the names of other index objects that this one replaces.
    """

    row_type: RowType
    segments: tuple[str, ...]
    counts: tuple[int, ...]
    digests: NDArray[np.uint8]
    checksums: NDArray[np.uint32]
    covers: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The index as a safetensors file: `digests`, `checksums`, and the rest as metadata."""
        about = {
            "format": FORMAT,
            "dtype": self.row_type.dtype,
            "shape": json.dumps(self.row_type.shape),
            "segments": json.dumps(self.segments),
            "counts": json.dumps(self.counts),
            "covers": json.dumps(self.covers),
        }
        return bytes(save({"digests": self.digests, "checksums": self.checksums}, about))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the result of `to_bytes`.

        Raises:
            ValueError: it is damaged, or of another version.
        """
        try:
            tensors, about = load(content), _metadata(content)
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']}, not {FORMAT}")
            found = cls(
                RowType(about["dtype"], tuple(int(size) for size in json.loads(about["shape"]))),
                tuple(str(name) for name in json.loads(about["segments"])),
                tuple(int(count) for count in json.loads(about["counts"])),
                tensors["digests"],
                tensors["checksums"],
                tuple(str(name) for name in json.loads(about["covers"])),
            )
        except (SafetensorError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error
        found._check()
        return found

    def _check(self) -> None:
        rows = sum(self.counts)
        is_whole = (
            len(self.segments) == len(self.counts)
            and all(count > 0 for count in self.counts)
            and self.row_type.row_bytes > 0
            and (self.digests.dtype, self.digests.shape) == (np.dtype(np.uint8), (rows, DIGEST_BYTES))
            and (self.checksums.dtype, self.checksums.shape) == (np.dtype(np.uint32), (rows,))
            and not any("/" in name for name in (*self.segments, *self.covers))
        )
        if not is_whole:
            raise ValueError("it is damaged: its parts don't fit together")

    def some(self, chosen: Sequence[bool]) -> Self:
        """The index of some of the segments."""
        rows = np.repeat(chosen, self.counts)
        return replace(
            self,
            segments=tuple(compress(self.segments, chosen)),
            counts=tuple(compress(self.counts, chosen)),
            digests=self.digests[rows],
            checksums=self.checksums[rows],
        )

    @classmethod
    def merged(cls, indexes: Sequence[tuple[str, Self]]) -> Self:
        """One index that replaces these, given by name; they have one type."""
        parts = [index for _, index in indexes]
        return cls(
            parts[0].row_type,
            tuple(name for part in parts for name in part.segments),
            tuple(count for part in parts for count in part.counts),
            np.concatenate([part.digests for part in parts]),
            np.concatenate([part.checksums for part in parts]),
            tuple(sorted({name for own, part in indexes for name in (own, *part.covers)})),
        )


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file that could be loaded."""
    length = int.from_bytes(content[:_METADATA_LENGTH_BYTES], "little")
    header = json.loads(content[_METADATA_LENGTH_BYTES : _METADATA_LENGTH_BYTES + length])
    found: dict[str, str] = header.get("__metadata__", {})
    return found
