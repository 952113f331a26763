"""Which ranges of rows to read from a segment: few requests, and few bytes that nobody needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP_BYTES = 1 << 20  # reading this much takes about as long as another request
MAX_BYTES = 8 << 20  # of one request; several run at once
WHOLE_SHARE = 0.5


@dataclass(frozen=True)
class RowRange:
    """Rows `first` up to `end`, without `end`."""

    first: int
    end: int


def ranges_of(rows: Sequence[int], count: int, row_bytes: int) -> list[RowRange]:
    """The ranges that contain these rows of a segment with `count` rows.

    Rows with a small gap between them are read together. If half of the segment is needed, all of it is read.

    Args:
        rows: in ascending order, each once.
        count: the rows of the segment.
        row_bytes: bytes of one row.

    Example:
        >>> ranges_of([0, 1, 900], 10_000, row_bytes=2048)
        [RowRange(first=0, end=2), RowRange(first=900, end=901)]
        >>> ranges_of([0, 1, 900], 10_000, row_bytes=64)
        [RowRange(first=0, end=901)]
    """
    if not rows:
        return []
    if len(rows) >= WHOLE_SHARE * count:
        joined = [RowRange(0, count)]
    else:
        joined, first, last = [], rows[0], rows[0]
        for row in rows[1:]:
            if (row - last - 1) * row_bytes > GAP_BYTES:
                joined.append(RowRange(first, last + 1))
                first = row
            last = row
        joined.append(RowRange(first, last + 1))
    at_once = max(1, MAX_BYTES // row_bytes)
    return [
        RowRange(start, min(start + at_once, each.end))
        for each in joined
        for start in range(each.first, each.end, at_once)
    ]
