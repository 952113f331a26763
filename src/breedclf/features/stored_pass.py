"""The pass over images that takes their features from the store, and computes and stores the missing ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Set as AbstractSet
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.data.image_source import EncodedImages
from breedclf.data.split import SplitImages
from breedclf.features.digests import ContentDigests
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.found import FoundFeatures
from breedclf.features.pass_share import ALONE, PassShare, Together
from breedclf.features.sharing import Sharing
from breedclf.features.store.index import Rows
from breedclf.features.store.store import FeatureStore
from breedclf.features.store_access import StoreAccess

if TYPE_CHECKING:
    from breedclf.features.remote.store import RemoteStore

OnAppend = Callable[[NDArray[np.uint8]], bool]

log: logging.Logger = logging.getLogger(__name__)

IMAGES_PER_WRITE = 64
"""At most this many images, or those of one chunk, pass through the backbone again after a kill."""
IMAGES_PER_EXCHANGE = 512
"""With a store in S3, processes exchange what they have computed after this many images each."""


@dataclass(frozen=True)
class FeatureCounts:
    """How many images passed through the backbone, and how many had features in the store, counted once per view."""

    computed: int = 0
    reused: int = 0

    def __add__(self, other: FeatureCounts) -> FeatureCounts:
        return FeatureCounts(self.computed + other.computed, self.reused + other.reused)


@dataclass(frozen=True)
class StoredPass:
    """A pass over the images of a list in one view.

    Args:
        extractor: computes missing features.
        images: the images.
        digests: the digests of their contents.
        view: the number of the view.
        title: names the progress bar.
        on_chunk: called after each chunk with the number of images done; its exceptions end the pass.
        share: the processes that share the pass.
    """

    extractor: FeatureExtractor
    images: SplitImages
    digests: ContentDigests
    view: int
    title: str
    on_chunk: Callable[[int], None]
    share: PassShare = ALONE

    def run(self, store: FeatureStore | None) -> tuple[FoundFeatures, FeatureCounts]:
        """The features of all readable images in the order of the list; without a store all of them are computed.

        A store that can't be used or fails is reported, and the pass goes on; what isn't in the store is in memory.
        Processes that share the pass compute different images, and all of them return the same.

        Raises:
            ImageError: an image can't be read, with the extractor's `stop_at_bad`.
            BreedclfError, KeyboardInterrupt: another process has failed or was interrupted.
        """
        spec = self.extractor.spec(self.view)
        with self.share.together() as together:
            if len(set(self.share.from_all(spec.key))) > 1:
                log.warning("%s: processes on different hardware or software don't share features", self.title)
                return replace(self, share=ALONE, on_chunk=_also(together, self.on_chunk)).run(store)
            with StoreAccess.opened(store, spec) as access:
                remote = None if store is None or not access.works else store.remote
                return self._run(Sharing(self.share, together, access, self.digests.values), remote)

    def _run(self, sharing: Sharing, remote: RemoteStore | None) -> tuple[FoundFeatures, FeatureCounts]:
        rows, bad = sharing.rows, sharing.bad
        lacking = sharing.lacking(self._missing(rows))
        uses_remote = self.share.from_first(remote is not None)
        if len(lacking) or uses_remote:
            with sharing.computing():
                sharing.exchange(lacking)
                if uses_remote:
                    self._compute_with_others(remote, sharing)
                    sharing.exchange(lacking)
                self._compute(sharing.missing(lacking), sharing)
                self._compute_part(sharing.lost(lacking), sharing, lambda _: None)
                self._repeat(rows, {*bad, *sharing.changed})
                self._compute(np.setdiff1d(np.flatnonzero(rows.shards == -1), list(bad)), sharing)
                self._report(sharing.changed)
        kept = np.flatnonzero(rows.shards != -1)
        found = FoundFeatures(rows.of(kept), torch.from_numpy(kept), bad, sharing.reader, sharing.buffer.values)
        return found, FeatureCounts(sharing.computed, len(kept) - sharing.computed)

    def _missing(self, rows: Rows) -> NDArray[np.int64]:
        """The positions of images whose features must be computed, once per content."""
        without = np.flatnonzero(~rows.found)
        _, firsts = np.unique(self.digests.values[without], axis=0, return_index=True)
        return without[np.sort(firsts)]

    def _compute_with_others(self, remote: RemoteStore | None, sharing: Sharing) -> None:
        """Fetch or compute missing features together with other jobs: the first process decides, all compute."""
        firsts = np.sort(np.unique(self.digests.values, axis=0, return_index=True)[1])
        at_once = IMAGES_PER_EXCHANGE * self.share.count if self.share.count > 1 else None

        def compute(some: NDArray[np.int64], left: int, on_append: OnAppend) -> None:
            positions = firsts[some]
            missing = positions[sharing.rows.shards[positions] == -1]
            sharing.command((missing, left))
            self._compute(missing, sharing, left, on_append, at_once)

        if sharing.is_first:
            assert remote is not None
            remote.share(
                self.extractor.spec(self.view), sharing.access, self.digests.values[firsts], compute, self.on_chunk
            )
            sharing.command(None)
        else:
            while (command := sharing.command(None)) is not None:
                missing, left = command
                self._compute(missing, sharing, left, at_once=at_once)

    def _compute(
        self,
        missing: NDArray[np.int64],
        sharing: Sharing,
        left: int = 0,
        on_append: OnAppend = lambda _: True,
        at_once: int | None = None,
    ) -> None:
        """Compute missing features, which are the same in all processes; `left` others are missing besides.

        Each process computes a part of them, and sends it to those that use other folders after `at_once` images.
        """
        if not len(missing):
            return
        log.info("%s: %d of %d images through the backbone", self.title, len(missing), len(self.images))
        done = len(self.images) - len(missing) - left - sharing.passed
        at_once = at_once or len(missing)

        def on_new(all_new: int) -> None:
            self.on_chunk(done + all_new)

        for start in range(0, len(missing), at_once):
            some = missing[start : start + at_once]
            part = sharing.part(some, self.extractor.chunk_size)
            goes_on = self._compute_part(part, sharing, on_new, on_append)
            sharing.meet(on_new)
            sharing.agree(some)
            sharing.exchange(some)
            others = np.setdiff1d(some, part)
            goes_on = goes_on and (not len(others) or on_append(sharing.digests_of(others)))
            if not sharing.finish(some, goes_on):
                break

    def _compute_part(
        self,
        missing: NDArray[np.int64],
        sharing: Sharing,
        on_new: Callable[[int], None],
        on_append: OnAppend = lambda _: True,
    ) -> bool:
        """Compute features in this process, until `on_append` returns False; returns what it returned last."""
        with _Writer(sharing, on_append) as writer:
            for positions, features, contents in self._computed(missing, sharing, on_new):
                writer.add(positions, features, contents)
                if not writer.goes_on:
                    break
        return writer.goes_on

    def _computed(
        self, missing: NDArray[np.int64], sharing: Sharing, on_new: Callable[[int], None]
    ) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, NDArray[np.uint8]]]:
        """The positions, features and digests of the contents of images, by chunks."""
        if not len(missing):
            return
        before = 0

        def on_chunk(done: int) -> None:
            nonlocal before
            new, before = done - before, done
            on_new(sharing.together.advance(new))

        for chunk, features in self.extractor.computed(
            EncodedImages(self.images), missing.tolist(), view=self.view, title=self.title, on_chunk=on_chunk
        ):
            sharing.bad.update({int(missing[at]): reason for at, reason in chunk.bad.items()})
            positions, contents = missing[chunk.positions.numpy()], chunk.digests.numpy()
            sharing.note_contents(positions, contents)
            if len(positions):
                yield positions, features.cpu(), contents

    def _repeat(self, rows: Rows, unlike: AbstractSet[int]) -> None:
        """Give images the rows of earlier ones with the same content.

        Those in `unlike` were unreadable, or had another content when they were decoded: others aren't equal to them.
        """
        without = np.flatnonzero(rows.shards == -1)
        if unlike >= set(without.tolist()):
            return
        _, firsts, inverse = np.unique(self.digests.values, axis=0, return_index=True, return_inverse=True)
        first = firsts[inverse.reshape(-1)[without]]
        equal = ~np.isin(first, list(unlike))
        rows.put(without[equal], rows.of(first[equal]))

    def _report(self, changed: AbstractSet[int]) -> None:
        """Warn that images aren't those whose digests were taken, as the fingerprint of the images still says."""
        if changed:
            log.warning(
                "%s: %d images changed while they were read, and count with their new contents; the first: %s",
                self.title,
                len(changed),
                self.images.name(min(changed)),
            )


class _Writer:
    """Appends features to the store, several chunks at once, and records their rows; refused ones stay in memory.

    `on_append` is called with the digests of what the store took; `goes_on` is its answer.
    """

    def __init__(self, sharing: Sharing, on_append: OnAppend) -> None:
        self.goes_on = True
        self._sharing, self._on_append = sharing, on_append
        self._waiting: list[tuple[NDArray[np.int64], torch.Tensor, NDArray[np.uint8]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._flush()

    def add(self, positions: NDArray[np.int64], features: torch.Tensor, contents: NDArray[np.uint8]) -> None:
        self._waiting.append((positions, features, contents))
        if sum(len(each) for each, *_ in self._waiting) >= IMAGES_PER_WRITE:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        positions, features, contents = zip(*self._waiting, strict=True)
        self._waiting = []
        digests = np.concatenate(contents)
        if self._sharing.add(np.concatenate(positions), digests, torch.cat(features)):
            self.goes_on = self._on_append(digests)


def _also(together: Together, on_chunk: Callable[[int], None]) -> Callable[[int], None]:
    """`on_chunk`, and before it a look at whether another process has failed."""

    def checked(done: int) -> None:
        together.advance(0)
        on_chunk(done)

    return checked
