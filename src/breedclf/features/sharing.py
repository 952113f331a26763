"""How processes share a pass: who computes which images, and how the features reach all of them."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.errors import DataError
from breedclf.features.digests import ContentDigests
from breedclf.features.found import FeatureBuffer, FoundFeatures
from breedclf.features.pass_share import PassShare
from breedclf.features.store.index import Rows
from breedclf.features.store.row_type import RowType, as_bytes
from breedclf.features.store_access import StoreAccess

log: logging.Logger = logging.getLogger(__name__)

_LOCK_SECONDS = 0.5
_PIECE_BYTES = 1 << 24
_SENT, _SENT_CHANGED = 1, 2


class Sharing:
    """The features of one pass in several processes; each calls the same methods in the same order.

    Several processes may use the same folder, and not all need to use the same one. One process of each folder holds
    its lock, and appends to it what the others send.

    Args:
        share: the processes.
        access: the folder of this process, if it can be used.
        digests: uint8 [N, 16] of the images, the same in all processes.
        rows: where this process has the features of the images; updated.
        buffer: takes the features that don't go into a folder.
    """

    def __init__(
        self, share: PassShare, access: StoreAccess, digests: NDArray[np.uint8], rows: Rows, buffer: FeatureBuffer
    ) -> None:
        self._share, self._access, self._digests = share, access, digests
        self.rows, self.buffer = rows, buffer
        self._leads = False
        self.changed: set[int] = set()
        """Images whose content changed while they were read, so that their digests don't find their features."""

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Hold the locks of all folders, each in one process.

        A process that gets its lock while another doesn't releases it and tries again, so that runs that share several
        folders never wait for each other.
        """
        if self._share.count == 1:
            with self._access.computing():
                yield
            return
        token = self._share.from_first(uuid.uuid4().hex)
        folder = self._access.folder
        mark = None if folder is None else folder / f"{token}.token"
        self._leads = mark is not None and _created(mark)
        with ExitStack() as held:
            is_told = False
            while not self._by_all(not self._leads or self._access.claim(held)):
                held.close()
                if not is_told:
                    log.info("another run computes features; waiting for it")
                is_told = True
                time.sleep(_LOCK_SECONDS)
            if mark is not None and self._leads:
                mark.unlink(missing_ok=True)
            yield

    def lacking(self, missing: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images that are missing in this process or in another."""
        is_there = torch.ones(len(self._digests), dtype=torch.int32)
        is_there[torch.from_numpy(missing)] = 0
        lacking: NDArray[np.int64] = np.flatnonzero(self._share.lowest(is_there).numpy() == 0)
        return lacking

    def missing(self, lacking: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these images that no process has."""
        return np.extract(self._owners(lacking) == self._share.count, lacking)

    def part(self, images: NDArray[np.int64], chunk_size: int) -> NDArray[np.int64]:
        """The images that this process computes: every `count`-th chunk, so that all of them read the same region."""
        chunks = np.arange(len(images)) // chunk_size
        return np.extract(chunks % self._share.count == self._share.rank, images)

    def add(self, images: NDArray[np.int64], contents: NDArray[np.uint8], values: torch.Tensor) -> None:
        """Add features that this process has computed, with the digests of what was decoded, uint8 [N, 16]."""
        rows = self._access.append(contents, values)
        self.rows.put(images, self.buffer.add(values) if rows is None else rows)

    def told(self, computed: int, bad: dict[int, str]) -> int:
        """Tell the others how many images were computed and which can't be read; returns the sum, `bad` gets theirs."""
        outcomes = self._share.from_all((computed, bad.copy()))
        for _, others in outcomes:
            bad.update(others)
        return sum(computed for computed, _ in outcomes)

    def exchange(self, images: NDArray[np.int64]) -> None:
        """Send features that one process has and others don't; afterwards all have those of `images`.

        At first one process appends them to each folder; where that fails, they stay in memory.
        """
        for is_last in (False, True):
            lacking = images[self.rows.shards[images] == -1]
            self.rows.put(lacking, self._access.find(self._digests[lacking]))
            owners = self._owners(images)
            is_known = owners < self._share.count
            sent = np.flatnonzero(is_known & ~self._have_all(images))
            if not len(sent):
                return
            row_type = next(each for each in self._share.from_all(self._row_type()) if each is not None)
            log.info("sending the features of %d images to other processes", len(sent))
            for piece in np.array_split(sent, -(-len(sent) * row_type.row_bytes // _PIECE_BYTES)):
                values, states = self._sent(images[piece], owners[piece] == self._share.rank, row_type)
                self._receive(images[piece], values, states, in_memory=is_last)
            self._by_all(True)  # all have appended what they received

    def _sent(
        self, images: NDArray[np.int64], is_own: NDArray[np.bool_], row_type: RowType
    ) -> tuple[torch.Tensor, NDArray[np.uint8]]:
        """The features of images, from the processes that have them, and whether they were sent.

        They are added up as bytes, which keeps their bits: all but one are 0.
        """
        content = np.zeros((len(images), row_type.row_bytes + 1), np.uint8)
        own = images[is_own]
        if len(own):
            try:
                content[is_own, :-1] = as_bytes(self._read(own))
                content[is_own, -1] = [_SENT_CHANGED if each in self.changed else _SENT for each in own.tolist()]
            except OSError as error:
                log.warning("features can't be read from the store (%s); they are computed again", error)
        content = self._share.total(torch.from_numpy(content)).numpy()
        values = row_type.empty(len(images))
        as_bytes(values)[:] = content[:, :-1]
        return values, content[:, -1]

    def _receive(
        self, images: NDArray[np.int64], values: torch.Tensor, states: NDArray[np.uint8], *, in_memory: bool
    ) -> None:
        new = (self.rows.shards[images] == -1) & (states > 0)
        in_folder = new & (states == _SENT) & (not in_memory and self._access.folder is not None)
        stored = np.flatnonzero(in_folder) if self._leads else np.empty(0, np.int64)
        if len(stored):
            rows = self._access.append(self._digests[images[stored]], values[torch.from_numpy(stored)])
            if rows is not None:
                self.rows.put(images[stored], rows)
        kept = np.flatnonzero(new & ~in_folder)
        if len(kept):
            self.rows.put(images[kept], self.buffer.add(values[torch.from_numpy(kept)]))

    def _read(self, images: NDArray[np.int64]) -> torch.Tensor:
        kept = torch.from_numpy(images)
        found = FoundFeatures(self.rows.of(images), kept, {}, self._access.reader, self.buffer.values)
        return found.read(np.arange(len(images)))

    def _row_type(self) -> RowType | None:
        reader, values = self._access.reader, self.buffer.values
        if reader is not None:
            return reader.row_type
        return RowType.of(values) if len(values) else None

    def _owners(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first process that has the features of each image; the number of processes if none has."""
        has = self.rows.shards[images] != -1
        own = torch.from_numpy(np.where(has, self._share.rank, self._share.count).astype(np.int32))
        return self._share.lowest(own).numpy().astype(np.int64)

    def _have_all(self, images: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether all processes have the features of each image."""
        has = torch.from_numpy((self.rows.shards[images] != -1).astype(np.int32))
        everywhere: NDArray[np.bool_] = self._share.lowest(has).numpy() == 1
        return everywhere

    def _by_all(self, value: bool) -> bool:
        return bool(self._share.lowest(torch.tensor([int(value)], dtype=torch.int32)).item())


def agreed_digests(share: PassShare, digests: ContentDigests) -> ContentDigests:
    """The first process's digests, if those of another differ: a file may have changed in between.

    Raises:
        DataError: the processes have different numbers of images.
    """
    counts = share.from_all(len(digests))
    if len(set(counts)) > 1:
        found = ", ".join(str(count) for count in counts)
        raise DataError(
            f"the processes found different numbers of images: {found}; give all of them the same data, and don't "
            "change it while they start"
        )
    if len(set(share.from_all(digests.fingerprint))) == 1:
        return digests
    return share.from_first(digests)


def _created(mark: Path) -> bool:
    """Whether this process is the first one to create the file, of all that see the folder."""
    try:
        with mark.open("x"):
            return True
    except OSError:
        return False
