"""How processes share a pass: who computes which images, and how the features reach all of them."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.errors import DataError
from breedclf.features.digests import ContentDigests
from breedclf.features.found import FeatureBuffer, FoundFeatures
from breedclf.features.pass_share import PassShare, Together, ignore
from breedclf.features.store.index import Rows
from breedclf.features.store.reading import ShardReader
from breedclf.features.store.row_type import RowType, as_bytes
from breedclf.features.store_access import StoreAccess

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
_LOCK_SECONDS = 0.5
_PIECE_BYTES = 1 << 24
_SENT = 1


class Sharing:
    """The state of a pass in one of several processes; each calls the same methods in the same order.

    Several processes may use the same folder, and not all need to use the same one. One process of each folder holds
    its lock, and appends to it what the others send.

    Args:
        share: the processes; there may be only one.
        together: what they do together.
        access: the folder of this process, if it can be used.
        digests: uint8 [N, 16] of the images, the same in all processes.
    """

    def __init__(self, share: PassShare, together: Together, access: StoreAccess, digests: NDArray[np.uint8]) -> None:
        self.together: Together = together
        self.access: StoreAccess = access
        self.rows: Rows = access.find(digests)
        """Where this process has the features of the images."""
        self.buffer: FeatureBuffer = FeatureBuffer(int((self.rows.shards == -1).sum()))
        """Has the features that aren't in the folder."""
        self.bad: dict[int, str] = {}
        """Why images can't be read."""
        self.changed: set[int] = set()
        """Images whose content changed while they were read: they count with the digests of their new contents."""
        self.passed: int = 0
        self.computed: int = 0
        """How many images were read for computing, and how many were computed, in all processes."""
        self._share, self._leads = share, False
        self._digests, self._given = digests, digests

    @property
    def is_first(self) -> bool:
        return self._share.rank == 0

    def digests_of(self, images: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The digests that the features of images are stored under, uint8 [N, 16]."""
        return self._digests[images]

    @property
    def reader(self) -> ShardReader | None:
        return self.access.reader

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Hold the locks of all folders, each in one process.

        A process that gets its lock while another doesn't releases it and tries again, so that runs that share several
        folders never wait for each other.
        """
        if self._share.count == 1:
            with self.access.computing(self._given):
                yield
            return
        token = self._share.from_first(uuid.uuid4().hex)
        folder = self.access.folder
        mark = None if folder is None else folder / f"{token}.token"
        self._leads = mark is not None and _created(mark)
        with ExitStack() as held:
            is_told = False
            while not self._by_all(not self._leads or self.access.claim(held, self._given)):
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
        """Those of these images, as far as they can be read, that no process has."""
        return np.setdiff1d(np.extract(self._owners(lacking) == self._share.count, lacking), self._unreadable())

    def part(self, images: NDArray[np.int64], chunk_size: int) -> NDArray[np.int64]:
        """The images that this process computes: every `count`-th chunk, so that all of them read the same region."""
        chunks = np.arange(len(images)) // chunk_size
        return np.extract(chunks % self._share.count == self._share.rank, images)

    def lost(self, lacking: NDArray[np.int64]) -> NDArray[np.int64]:
        """Readable images whose features haven't reached this process, since the disk of another failed."""
        return np.setdiff1d(lacking[self.rows.shards[lacking] == -1], self._unreadable())

    def command(self, value: T | None) -> T | None:
        """The first process's value, as soon as it comes here, however long that takes."""
        self.meet()
        return self._share.from_first(value)

    def meet(self, on_advance: Callable[[int], None] = ignore) -> None:
        """As `Together.meet`."""
        self.together.meet(on_advance)

    def note_contents(self, images: NDArray[np.int64], contents: NDArray[np.uint8]) -> None:
        """Note which images have other contents than their digests say; `contents` is uint8 [N, 16]."""
        is_other = (self._digests[images] != contents).any(1)
        if is_other.any():
            if self._digests is self._given:
                self._digests = self._given.copy()
            self._digests[images[is_other]] = contents[is_other]
            self.changed.update(images[is_other].tolist())

    def add(self, images: NDArray[np.int64], contents: NDArray[np.uint8], values: torch.Tensor) -> bool:
        """Add features that this process has computed, with the digests of what was decoded, uint8 [N, 16].

        Returns whether they are in the folder.
        """
        rows = self.access.append(contents, values)
        self.rows.put(images, self.buffer.add(values) if rows is None else rows)
        return rows is not None

    def agree(self, images: NDArray[np.int64]) -> None:
        """Take over from the others which images can't be read, and which changed."""
        some = set(images.tolist())
        own_bad = {at: reason for at, reason in self.bad.items() if at in some}
        own_changed = np.array(sorted(self.changed & some), np.int64)
        for bad, changed, contents in self._share.from_all((own_bad, own_changed, self._digests[own_changed])):
            self.bad.update(bad)
            self.note_contents(changed, contents)

    def finish(self, images: NDArray[np.int64], goes_on: bool) -> bool:
        """Count images as computed, and agree on whether to go on."""
        self.passed += len(images)
        self.computed += int((self.rows.shards[images] != -1).sum())
        return self._by_all(goes_on)

    def exchange(self, images: NDArray[np.int64]) -> None:
        """Send features that one process has and others don't; afterwards all have those of `images`.

        At first one process appends them to each folder; where that fails, they stay in memory.
        """
        for is_last in (False, True):
            lacking = images[self.rows.shards[images] == -1]
            self.rows.put(lacking, self.access.find(self._digests[lacking]))
            if self._share.count == 1:
                return
            owners = self._owners(images)
            is_known = owners < self._share.count
            sent = np.flatnonzero(is_known & ~self._have_all(images))
            if not len(sent):
                return
            row_type = next(each for each in self._share.from_all(self._row_type()) if each is not None)
            log.info("sending the features of %d images to other processes", len(sent))
            for piece in np.array_split(sent, -(-len(sent) * row_type.row_bytes // _PIECE_BYTES)):
                values, is_sent = self._sent(images[piece], owners[piece] == self._share.rank, row_type)
                self._receive(images[piece], values, is_sent, in_memory=is_last)
            self._by_all(True)  # all have appended what they received

    def _sent(
        self, images: NDArray[np.int64], is_own: NDArray[np.bool_], row_type: RowType
    ) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        """The features of images, from the processes that have them, and whether they were sent.

        They are added up as bytes, which keeps their bits: all but one are 0.
        """
        content = np.zeros((len(images), row_type.row_bytes + 1), np.uint8)
        own = images[is_own]
        if len(own):
            try:
                content[is_own, :-1] = as_bytes(self._read(own))
                content[is_own, -1] = _SENT
            except OSError as error:
                log.warning("features can't be read from the store (%s); they are computed again", error)
        content = self._share.total(torch.from_numpy(content)).numpy()
        values = row_type.empty(len(images))
        as_bytes(values)[:] = content[:, :-1]
        return values, content[:, -1] == _SENT

    def _receive(
        self, images: NDArray[np.int64], values: torch.Tensor, is_sent: NDArray[np.bool_], *, in_memory: bool
    ) -> None:
        new = (self.rows.shards[images] == -1) & is_sent
        in_folder = new & (not in_memory and self.access.folder is not None)
        stored = np.flatnonzero(in_folder) if self._leads else np.empty(0, np.int64)
        if len(stored):
            rows = self.access.append(self._digests[images[stored]], values[torch.from_numpy(stored)])
            if rows is not None:
                self.rows.put(images[stored], rows)
        kept = np.flatnonzero(new & ~in_folder)
        if len(kept):
            self.rows.put(images[kept], self.buffer.add(values[torch.from_numpy(kept)]))

    def _read(self, images: NDArray[np.int64]) -> torch.Tensor:
        kept = torch.from_numpy(images)
        found = FoundFeatures(self.rows.of(images), kept, {}, self.access.reader, self.buffer.values)
        return found.read(np.arange(len(images)))

    def _row_type(self) -> RowType | None:
        reader, values = self.access.reader, self.buffer.values
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

    def _unreadable(self) -> NDArray[np.int64]:
        return np.array(list(self.bad), np.int64)

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
