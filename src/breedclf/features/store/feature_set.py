"""A set of features with one spec: found by digest, appended durably, checked on reading."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from breedclf.features.store.checksums import row_checksums
from breedclf.features.store.description import SetDescription
from breedclf.features.store.in_use import UseMark, guarded, machines_using, this_machine
from breedclf.features.store.index import FILE as INDEX_FILE, DamagedError, Index, Rows
from breedclf.features.store.reading import ShardReader
from breedclf.features.store.row_type import RowType, as_bytes
from breedclf.features.store.shards import ShardWriter, shard_files
from breedclf.features.store.spec import FeatureSpec
from breedclf.files.disk import sync_folder
from breedclf.files.network_disk import network_file_system
from breedclf.files.private_folder import make_private

log: logging.Logger = logging.getLogger(__name__)

_DAMAGE_FILE = "damaged"
_CHECKED_BYTES = 1 << 24


class FeatureSet:
    """The features of one spec in a folder; used by one thread, while other processes may use the same folder.

    A damaged set is started again, unless other processes use it. One on a read-only disk is read. On a network file
    system, the processes that use a set at a time must be on one machine, since others don't see its locks in time.

    Args:
        folder: of the set; it is created.
        spec: of the features.
        on_close: called after the set is closed with the shards that were used, and whether features were appended.

    Raises:
        OSError, sqlite3.Error: the disk refuses.
        ValueError: the set is damaged, of a later version, or used by another machine.
    """

    def __init__(
        self, folder: Path, spec: FeatureSpec, on_close: Callable[[set[int], bool], None] = lambda *_: None
    ) -> None:
        self.folder: Path = folder
        self.spec: FeatureSpec = spec
        self.row_type: RowType | None = None
        self.used_shards: set[int] = set()
        self._on_close = on_close
        self._appended = False
        self._reader: ShardReader | None = None
        self._writer: ShardWriter | None = None
        self._mark: UseMark | None = None
        self._refusal: Callable[[], Exception] | None = None
        try:
            self._index = self._opened_for_writing()
        except (OSError, sqlite3.OperationalError) as error:
            self._refusal = partial(type(error), *error.args)
            try:
                self._index = self._opened(writable=False)
            except (OSError, sqlite3.Error, ValueError):
                raise error from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._close_writer()
        with contextlib.suppress(Exception):
            self._index.close()
        if self._mark is not None:
            self._mark.release()
            self._mark = None
            self._on_close(self.used_shards, self._appended)

    @contextmanager
    def computing(self, digests: NDArray[np.uint8], *, waits: bool = True) -> Iterator[None]:
        """Hold the lock under which a pass over these images computes missing features; then find them again.

        Only passes over the same images, in any order, wait for each other.

        Raises:
            filelock.Timeout: another process holds it, and this one doesn't wait (`waits=False`).
        """
        name = np.ascontiguousarray(digests).view("<u8").sum(0).tobytes().hex()
        lock = FileLock(self.folder / f"computing-{name}.lock")
        try:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if not waits:
                    raise
                log.info("waiting for another process, which computes the same features")
                lock.acquire()
        except Timeout:
            raise
        except OSError as error:  # on a read-only disk nobody stores what is computed
            log.debug("%s can't be locked: %s", self.folder, error)
        try:
            yield
        finally:
            if lock.is_locked:
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()  # while it is held, so that a waiting process notices
                with contextlib.suppress(OSError):
                    lock.release()

    def find(self, digests: NDArray[np.uint8]) -> Rows:
        """Where the features of images are, by their digests, uint8 [N, 16]; damaged ones are dropped, and missing."""
        with self._noting_damage():
            if self.row_type is None:
                self._read_row_type()
            rows = self._index.find(digests)
            if self.row_type is None:
                return rows
            there = np.flatnonzero(rows.found)
            there = there[np.lexsort((rows.rows[there], rows.shards[there]))]  # the order in which they are stored
            at_a_time = max(1, _CHECKED_BYTES // self.row_type.row_bytes)
            damaged = [
                some[~self._is_whole(rows.of(some), digests[some])]
                for some in np.split(there, range(at_a_time, len(there), at_a_time))
            ]
            lost = np.concatenate([*damaged, there[:0]])
            self.used_shards |= set(np.unique(rows.shards[there]).tolist())
            if len(lost):
                log.warning("%d features in %s are damaged or gone; computing them again", len(lost), self.folder)
                with contextlib.suppress(sqlite3.Error):  # those on a disk that refuses are found damaged again
                    self._index.drop(digests[lost], rows.of(lost))
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
            OSError, sqlite3.Error, ValueError: the disk refuses; what was stored before stays.
        """
        if self._refusal is not None:
            raise self._refusal()
        values = values.detach().cpu().contiguous()
        with self._noting_damage():
            if self.row_type is None:
                self._write_row_type(RowType.of(values))
            if self.row_type != RowType.of(values):
                raise DamagedError(f"its description is damaged: {self.row_type}, not {RowType.of(values)}")
            if self._writer is None:
                self._writer = ShardWriter(self.folder, self._index, self.row_type.row_bytes)
                self.reader.hold(self._writer.shard)
            rows, shard = as_bytes(values), self._writer.shard
            first = self._writer.append(rows)
            checksums = self._checksums(digests, rows)
            self._index.add(digests, shard, first, checksums.tolist())
        self._appended = True
        self.used_shards.add(shard)
        if self._writer.is_full:
            self._close_writer()
        return Rows(np.full(len(rows), shard, np.int64), first + np.arange(len(rows)), checksums)

    def _is_whole(self, rows: Rows, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which rows have their checksums, bool [N]."""
        assert self.row_type is not None
        content = np.empty((len(digests), self.row_type.row_bytes), np.uint8)
        there = self.reader.read_into(rows, content)
        whole: NDArray[np.bool_] = there & (self._checksums(digests, content) == rows.checksums)
        return whole

    def _checksums(self, digests: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Checksums of rows over the key of the set, the type, the image's digest and the values.

        A digest is a hash already, so that 32 bits of it identify the image.
        """
        start = zlib.crc32(f"{self.spec.key} {self.row_type}".encode())
        checksums = row_checksums(rows, repeat(start)).astype(np.int64)
        return checksums ^ np.ascontiguousarray(digests[:, :4]).view("<u4")[:, 0].astype(np.int64)

    def _opened_for_writing(self) -> Index:
        make_private(self.folder.parent)
        with guarded(self.folder):
            self.folder.mkdir(exist_ok=True)
            sync_folder(self.folder.parent)
            self._mark = UseMark(self.folder)
            try:
                return self._opened_or_restarted(machines_using(self.folder, besides=self._mark))
            except BaseException:
                self._mark.release()
                self._mark = None
                raise

    def _opened_or_restarted(self, others: list[str]) -> Index:
        """The index of the set; its files are deleted first if they are damaged."""
        strangers = sorted({machine for machine in others if machine != this_machine()})
        if strangers and (kind := network_file_system(self.folder)):
            raise ValueError(
                f"{strangers[0]} uses it, and on a network file system ({kind}) only one machine at a time can: "
                "give each a local folder, or use s3://BUCKET/PREFIX, with feature_store"
            )
        try:
            index = self._opened(writable=True)
        except DamagedError as error:
            if others:
                raise ValueError(f"{error}, and other processes use it") from error
            log.warning("the features in %s can't be read, %s; computing them again", self.folder, error)
            self._delete_files()
            index = self._opened(writable=True)
        if not others:
            for shard in shard_files(self.folder).keys() - index.shards().keys():
                shard_files(self.folder)[shard].unlink()
        return index

    def _opened(self, *, writable: bool) -> Index:
        if (self.folder / _DAMAGE_FILE).exists():
            raise DamagedError("its index is damaged")
        self._read_row_type()
        index = Index(self.folder / INDEX_FILE, writable=writable)
        if self.row_type is None and any(index.shards().values()):
            index.close()
            raise DamagedError("its description is gone")
        return index

    def _delete_files(self) -> None:
        """All files but the mark of this process."""
        assert self._mark is not None
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != self._mark.path:
                path.unlink()

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """Note a damaged index, so that the set is started again when it is opened the next time."""
        try:
            yield
        except DamagedError:
            if self._mark is not None:
                with contextlib.suppress(OSError):
                    (self.folder / _DAMAGE_FILE).touch()
            raise

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _read_row_type(self) -> None:
        about = SetDescription.read(self.folder)
        self.row_type = None if about is None else about.row_type

    def _write_row_type(self, row_type: RowType) -> None:
        SetDescription.write(self.folder, self.spec, row_type)
        self.row_type = row_type
