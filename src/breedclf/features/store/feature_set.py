"""A set of features with one spec: found by digest, appended durably, checked on reading."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from breedclf.features.store.index import Index, Rows
from breedclf.features.store.reading import ShardReader
from breedclf.features.store.row_type import RowType, as_bytes
from breedclf.features.store.shards import ShardWriter
from breedclf.features.store.spec import FORMAT, FeatureSpec
from breedclf.files.disk import write_atomic
from breedclf.files.private_folder import make_private

ABOUT_FILE = "set.json"
INDEX_FILE = "index.sqlite"
_CHECKED_BYTES = 1 << 24


class FeatureSet:
    """The features of one spec in a folder; used by one thread, while other processes may use the same folder.

    Raises:
        OSError, sqlite3.Error: the disk refuses, or the index is damaged.
        ValueError: the set has another format.
    """

    def __init__(self, folder: Path, spec: FeatureSpec) -> None:
        make_private(folder.parent)
        folder.mkdir(exist_ok=True)
        self.folder, self.spec = folder, spec
        self.row_type: RowType | None = self._read_row_type()
        self._index = Index(folder / INDEX_FILE)
        self._reader: ShardReader | None = None
        self._writer: ShardWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._index.close()

    @contextmanager
    def computing(self, max_seconds: float | None = None) -> Iterator[None]:
        """Hold the lock under which missing features are computed; look for them again when it is held.

        Raises:
            filelock.Timeout: another process holds it for more than `max_seconds`.
        """
        with FileLock(self.folder / "computing.lock", timeout=-1 if max_seconds is None else max_seconds):
            yield

    def find(self, digests: NDArray[np.uint8]) -> Rows:
        """Where the features of images are, by their digests, uint8 [N, 16]; damaged ones are dropped, and missing."""
        if self.row_type is None:
            self.row_type = self._read_row_type()
        rows = self._index.find(digests)
        if self.row_type is None:
            return rows
        at_a_time = max(1, _CHECKED_BYTES // max(1, self.row_type.row_bytes))
        there = np.flatnonzero(rows.found)
        damaged = [
            some[~self._is_whole(rows.of(some), digests[some])]
            for some in np.split(there, range(at_a_time, len(there), at_a_time))
        ]
        lost = np.concatenate([*damaged, there[:0]])
        if len(lost):
            self._index.drop(digests[lost])
            rows.put(lost, Rows.missing(len(lost)))
        return rows

    @property
    def reader(self) -> ShardReader:
        """Reads features that were found, also after the set is closed or deleted."""
        assert self.row_type is not None
        if self._reader is None:
            self._reader = ShardReader(self.folder, self.row_type)
        return self._reader

    def read(self, rows: Rows) -> torch.Tensor:
        """The features of images that were found; the same as `reader.read`."""
        return self.reader.read(rows)

    def append(self, digests: NDArray[np.uint8], values: torch.Tensor) -> Rows:
        """Store features [N, ...] of images by their digests, uint8 [N, 16]; returns their rows, which are durable.

        Raises:
            OSError, sqlite3.Error: the disk refuses; what was stored before stays.
        """
        values = values.detach().cpu().contiguous()
        if self.row_type is None:
            self._write_about(RowType.of(values))
        assert self.row_type == RowType.of(values)
        if self._writer is None:
            self._writer = ShardWriter(self.folder, self._index, self.row_type.row_bytes)
        rows = as_bytes(values)
        first = self._writer.append(rows)
        checksums = self._checksums(digests, rows)
        self._index.add(digests, self._writer.shard, first, checksums)
        shards = np.full(len(rows), self._writer.shard, np.int64)
        if self._writer.is_full:
            self._writer.close()
            self._writer = None
        return Rows(shards, first + np.arange(len(rows)), np.array(checksums, np.int64))

    def _is_whole(self, rows: Rows, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which rows have their checksums, bool [N]."""
        assert self.row_type is not None
        content = np.empty((len(digests), self.row_type.row_bytes), np.uint8)
        there = self.reader.read_into(rows, content)
        whole: NDArray[np.bool_] = there & (np.array(self._checksums(digests, content), np.int64) == rows.checksums)
        return whole

    def _checksums(self, digests: NDArray[np.uint8], rows: NDArray[np.uint8]) -> Sequence[int]:
        """Checksums of rows over the key of the set, the type, the image's digest and the values."""
        assert self.row_type is not None
        start = zlib.crc32(f"{self.spec.key} {self.row_type}".encode())
        return [zlib.crc32(row, zlib.crc32(digest, start)) for digest, row in zip(digests, rows, strict=True)]

    def _read_row_type(self) -> RowType | None:
        try:
            about = json.loads((self.folder / ABOUT_FILE).read_bytes())
        except FileNotFoundError:
            return None
        if about["format"] != FORMAT:
            raise ValueError(f"{self.folder} has format {about['format']}, not {FORMAT}")
        return RowType(about["dtype"], tuple(about["shape"]))

    def _write_about(self, row_type: RowType) -> None:
        about = {"format": FORMAT, "spec": asdict(self.spec), "dtype": row_type.dtype, "shape": row_type.shape}
        write_atomic(self.folder / ABOUT_FILE, json.dumps(about, indent=2), sync=True)
        self.row_type = row_type
