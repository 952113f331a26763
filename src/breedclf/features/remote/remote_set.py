"""One feature set in S3: finds, reads and adds rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.data.digests import DIGEST_BYTES
from breedclf.features.remote.bucket import CONNECTIONS, Bucket
from breedclf.features.remote.ranges import RowRange, ranges_of
from breedclf.features.remote.segments import SegmentIndex, checksums_of
from breedclf.features.store.row_type import RowType, as_bytes

Append = Callable[[NDArray[np.uint8], torch.Tensor], object]

_SEGMENT_BYTES = 32 << 20
_APPEND_BYTES = 8 << 20
_RANGES_AT_ONCE = 2 * CONNECTIONS
_MAX_INDEXES = 32
_INDEX, _ROWS, _MERGED = ".index", ".rows", "merged-"

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    """A range of a segment, and which of its rows are needed."""

    segment: str
    rows: RowRange
    needed: NDArray[np.int64]
    """Numbers of these rows among the rows of all segments."""
    first: int
    """The number of the range's first row."""


class RemoteSet:
    """The rows of one feature set in S3.

    Segments and index objects are immutable. A row may be in several segments; the first one counts.

    Args:
        bucket: the store.
        key: the set's key.
        writer: unique; the start of the names of everything that this process writes.
        about: describes the set, for people who look into the bucket.
    """

    def __init__(self, bucket: Bucket, key: str, writer: str, about: str = "") -> None:
        self._bucket = bucket
        self.key = key
        self._writer = writer
        self._about = about
        self._known: dict[str, SegmentIndex | None] = {}
        self._covered: set[str] = set()
        self._row_type: RowType | None = None
        self._segments: list[str] = []
        self._starts = np.zeros(1, np.int64)
        self._digests = np.empty(0, f"S{DIGEST_BYTES}")  # sorted
        self._rows = np.empty(0, np.int64)  # of each digest
        self._checksums = np.empty(0, np.uint32)  # of each row
        self._written = 0

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The numbers of the rows of these images, int64 [N]; -1 where S3 had none at the last `refresh`."""
        return self._rows_at(_names(digests))

    def _rows_at(self, names: NDArray[np.bytes_]) -> NDArray[np.int64]:
        places = np.searchsorted(self._digests, names)
        found = np.full(len(names), -1, np.int64)
        inside = np.flatnonzero(places < len(self._digests))
        equal = inside[self._digests[places[inside]] == names[inside]]
        found[equal] = self._rows[places[equal]]
        return found

    def refresh(self) -> None:
        """List the set, and read the index objects that are new.

        Raises:
            S3Failure: a request fails.
        """
        listed = {each.name.removeprefix(f"{self.key}/"): each.size_bytes for each in self._bucket.list(f"{self.key}/")}
        indexes = [name for name in listed if name.endswith(_INDEX) and name not in self._known]
        merged = [name for name in indexes if name.startswith(_MERGED)]
        new: dict[str, SegmentIndex | None] = {}
        if merged and not self._known:  # the largest one covers most
            new |= self._read_indexes([max(merged, key=listed.__getitem__)])
        covered = self._covered.union(*(index.covers for index in new.values() if index is not None))
        unread = [name for name in indexes if name not in covered and not name.startswith(_MERGED)]
        new |= self._read_indexes(unread)
        self._covered = covered
        for name, index in new.items():
            self._known[name] = self._add(name, index, listed)

    def fetch(self, digests: NDArray[np.uint8], append: Append) -> int:
        """Read the rows of these images, check them, and pass them on; returns their number.

        Rows that S3 doesn't have, or that are damaged, are left out.

        Raises:
            S3Failure: a request fails; what was passed on before is whole.
        """
        rows = self.find(digests)
        wanted = np.flatnonzero(rows >= 0)
        wanted = wanted[np.argsort(rows[wanted], kind="stable")]
        if not len(wanted) or self._row_type is None:
            return 0
        names = dict(zip(rows[wanted].tolist(), wanted.tolist(), strict=True))
        fetched, damaged, size = 0, 0, 0
        waiting: list[tuple[NDArray[np.uint8], torch.Tensor]] = []
        for numbers, values in self._rows_of(np.unique(rows[wanted])):
            own = digests[[names[number] for number in numbers.tolist()]]
            whole = checksums_of(own, as_bytes(values), self._row_type) == self._checksums[numbers]
            damaged += int((~whole).sum())
            waiting.append((own[whole], values[torch.from_numpy(whole)]))
            size += int(whole.sum()) * self._row_type.row_bytes
            fetched += int(whole.sum())
            if size >= _APPEND_BYTES:
                _append(waiting, append)
                size = 0
        _append(waiting, append)
        if damaged:
            log.warning("%d features at %s are damaged and are computed again", damaged, self._bucket.location)
        return fetched

    def add(self, digests: NDArray[np.uint8], values: Iterator[torch.Tensor], rows_at_once: int) -> None:
        """Write rows as new segments, and then their index.

        Args:
            digests: uint8 [N, 16].
            values: the rows in parts of `rows_at_once`; the last part may be smaller.
            rows_at_once: at most `rows_per_segment`.

        Raises:
            S3Failure: a request fails; nobody finds the rows then.
        """
        names, counts, checksums = [], [], []
        row_type: RowType | None = None
        for start, part in zip(range(0, len(digests), rows_at_once), values, strict=True):
            row_type = RowType.of(part)
            name = f"{self._writer}-{self._written:06d}{_ROWS}"
            self._written += 1
            content = as_bytes(part)
            self._bucket.put(f"{self.key}/{name}", content.tobytes())
            names.append(name)
            counts.append(len(part))
            checksums.append(checksums_of(digests[start : start + len(part)], content, row_type))
        if row_type is None:
            return
        index = SegmentIndex(row_type, tuple(names), tuple(counts), digests, np.concatenate(checksums))
        self._write_index(f"{self._writer}-{self._written - 1:06d}{_INDEX}", index)
        self._describe()
        self._merge()

    def _write_index(self, name: str, index: SegmentIndex) -> None:
        self._bucket.put(f"{self.key}/{name}", index.to_bytes())
        self._known[name] = self._add(name, index, None) if not index.covers else None

    def _describe(self) -> None:
        if self._about:
            self._bucket.put(f"{self.key}/set.json", self._about.encode())
            self._about = ""

    def _merge(self) -> None:
        """Write one index in place of many, which later jobs would have to read one by one."""
        own = [(name, index) for name, index in self._known.items() if index is not None]
        if len([name for name, index in own if not index.covers]) > _MAX_INDEXES:
            name = f"{_MERGED}{self._writer}-{self._written:06d}{_INDEX}"
            merged = SegmentIndex.merged(own)
            self._bucket.put(f"{self.key}/{name}", merged.to_bytes())
            self._known = dict.fromkeys(self._known) | {name: merged}

    def _read_indexes(self, names: Sequence[str]) -> dict[str, SegmentIndex | None]:
        """Index objects by name; None for those that can't be used."""
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="breedclf-s3") as pool:
            contents = list(pool.map(lambda name: self._bucket.get(f"{self.key}/{name}"), names))
        found: dict[str, SegmentIndex | None] = {}
        for name, content in zip(names, contents, strict=True):
            found[name] = None
            try:
                found[name] = None if content is None else SegmentIndex.from_bytes(content.body)
            except ValueError as error:
                log.warning("%s/%s/%s is not used: %s", self._bucket.location, self.key, name, error)
        return found

    def _add(self, name: str, index: SegmentIndex | None, listed: dict[str, int] | None) -> SegmentIndex | None:
        """Add the rows of an index; returns the index if it can be used."""
        if index is None:
            return None
        self._row_type = self._row_type or index.row_type
        sizes = [count * index.row_type.row_bytes for count in index.counts]
        there = [listed is None or listed.get(each) == size for each, size in zip(index.segments, sizes, strict=True)]
        if index.row_type != self._row_type or not all(there):
            log.warning(
                "%s/%s/%s is not used as a whole: it doesn't fit the segments", self._bucket.location, self.key, name
            )
        if index.row_type != self._row_type or not any(there):
            return None
        index = index.some(there)
        first_row = int(self._starts[-1])
        self._segments += index.segments
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(index.counts, dtype=np.int64)])
        self._checksums = np.concatenate([self._checksums, index.checksums])
        names, rows = np.unique(_names(index.digests), return_index=True)
        is_new = self._rows_at(names) < 0
        places = np.searchsorted(self._digests, names[is_new])
        self._digests = np.insert(self._digests, places, names[is_new])
        self._rows = np.insert(self._rows, places, first_row + rows[is_new])
        return index

    def _rows_of(self, numbers: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
        """Read rows by number, in ascending order, several ranges at once."""
        row_type = self._row_type
        assert row_type is not None
        reads = self._reads(numbers, row_type.row_bytes)

        def read(each: _Read) -> bytes:
            name = f"{self.key}/{each.segment}"
            return self._bucket.get_range(
                name, each.rows.first * row_type.row_bytes, each.rows.end * row_type.row_bytes
            )

        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="breedclf-s3") as pool:
            for start in range(0, len(reads), _RANGES_AT_ONCE):
                some = reads[start : start + _RANGES_AT_ONCE]
                for each, content in zip(some, pool.map(read, some), strict=True):
                    values = row_type.empty(each.rows.end - each.rows.first)
                    as_bytes(values)[:] = np.frombuffer(content, np.uint8).reshape(len(values), -1)
                    yield each.needed, values[torch.from_numpy(each.needed - each.first)]

    def _reads(self, numbers: NDArray[np.int64], row_bytes: int) -> list[_Read]:
        reads = []
        bounds = np.searchsorted(numbers, self._starts)  # where the rows of each segment start among `numbers`
        for at in np.flatnonzero(np.diff(bounds)).tolist():
            start, needed = int(self._starts[at]), numbers[bounds[at] : bounds[at + 1]]
            ranges = ranges_of((needed - start).tolist(), int(self._starts[at + 1]) - start, row_bytes)
            for rows in ranges:
                low, high = np.searchsorted(needed, [start + rows.first, start + rows.end])
                if high > low:
                    reads.append(_Read(self._segments[at], rows, needed[low:high], start + rows.first))
        return reads


def rows_per_segment(row_type: RowType) -> int:
    """The most rows of one segment."""
    return max(1, _SEGMENT_BYTES // row_type.row_bytes)


def _append(waiting: list[tuple[NDArray[np.uint8], torch.Tensor]], append: Append) -> None:
    if any(len(digests) for digests, _ in waiting):
        append(np.concatenate([each for each, _ in waiting]), torch.cat([each for _, each in waiting]))
    waiting.clear()


def _names(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Digests uint8 [N, 16] as strings, which can be sorted; equal ones stay equal, and others different."""
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}").reshape(-1)
