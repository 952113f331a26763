"""The pass over images that takes their features from the store, and computes and stores the missing ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.data.image_source import EncodedImages
from breedclf.data.split import SplitImages
from breedclf.features.digests import ContentDigests
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.found import FeatureBuffer, FoundFeatures
from breedclf.features.pass_share import ALONE, PassShare, Together
from breedclf.features.sharing import Sharing
from breedclf.features.store.index import Rows
from breedclf.features.store.store import FeatureStore
from breedclf.features.store_access import StoreAccess

log: logging.Logger = logging.getLogger(__name__)

IMAGES_PER_WRITE = 64
"""At most this many images, or those of one chunk, pass through the backbone again after a kill."""


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
                return replace(self, share=ALONE, on_chunk=self._alive(together)).run(store)
            with StoreAccess.opened(store, spec) as access:
                return self._run(access, together)

    def _alive(self, together: Together) -> Callable[[int], None]:
        """The same as `on_chunk`; the other processes, which may be done, see that this one isn't."""

        def on_chunk(done: int) -> None:
            together.advance(1)
            self.on_chunk(done)

        return on_chunk

    def _run(self, access: StoreAccess, together: Together) -> tuple[FoundFeatures, FeatureCounts]:
        rows, bad, computed = access.find(self.digests.values), dict[int, str](), 0
        missing = self._missing(rows)
        sharing = Sharing(self.share, access, self.digests.values, rows, FeatureBuffer(len(missing)))
        lacking = sharing.lacking(missing)
        if len(lacking):
            with sharing.computing():
                sharing.exchange(lacking)
                missing = sharing.missing(lacking)
                if len(missing):
                    log.info("%s: %d of %d images through the backbone", self.title, len(missing), len(self.images))
                    done, part = len(self.images) - len(missing), sharing.part(missing, self.extractor.chunk_size)
                    self._compute(part, sharing, bad, lambda new: self.on_chunk(done + together.advance(new)))
                    together.meet(lambda all_new: self.on_chunk(done + all_new))
                    computed = sharing.told(len(part) - len(bad), bad)
                    sharing.exchange(missing)
                if len(lost := self._lost(sharing, lacking, bad)):
                    self._compute(lost, sharing, bad, lambda _: None)
        self._repeat(rows, bad)
        kept = np.flatnonzero(rows.shards != -1)
        found = FoundFeatures(rows.of(kept), torch.from_numpy(kept), bad, access.reader, sharing.buffer.values)
        return found, FeatureCounts(computed, len(kept) - computed)

    def _lost(self, sharing: Sharing, lacking: NDArray[np.int64], bad: dict[int, str]) -> NDArray[np.int64]:
        """The images whose features didn't reach this process, since another's disk failed."""
        return np.setdiff1d(lacking[sharing.rows.shards[lacking] == -1], np.array(list(bad), np.int64))

    def _missing(self, rows: Rows) -> NDArray[np.int64]:
        """The positions of images whose features must be computed, once per content."""
        without = np.flatnonzero(~rows.found)
        _, firsts = np.unique(self.digests.values[without], axis=0, return_index=True)
        return without[np.sort(firsts)]

    def _compute(
        self, missing: NDArray[np.int64], sharing: Sharing, bad: dict[int, str], on_new: Callable[[int], None]
    ) -> None:
        """Compute missing features; `on_new` is called after each chunk with the number of its images."""
        with _Writer(sharing) as writer:
            for positions, features, contents in self._computed(missing, bad, on_new):
                changed = (self.digests.values[positions] != contents).any(1)
                sharing.changed |= set(positions[changed].tolist())
                writer.add(positions, features, contents)
        if sharing.changed:
            log.warning("%s: %d images changed while they were read", self.title, len(sharing.changed))

    def _computed(
        self, missing: NDArray[np.int64], bad: dict[int, str], on_new: Callable[[int], None]
    ) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, NDArray[np.uint8]]]:
        """The positions, features and digests of the contents of images, by chunks; unreadable ones go to `bad`."""
        done = 0

        def on_chunk(now: int) -> None:
            nonlocal done
            new, done = now - done, now
            on_new(new)

        for chunk, features in self.extractor.computed(
            EncodedImages(self.images), missing.tolist(), view=self.view, title=self.title, on_chunk=on_chunk
        ):
            bad.update({int(missing[at]): reason for at, reason in chunk.bad.items()})
            if len(chunk.positions):
                yield missing[chunk.positions.numpy()], features.cpu(), chunk.digests.numpy()

    def _repeat(self, rows: Rows, bad: dict[int, str]) -> None:
        """Give images whose content an earlier image has the same rows, or the same reason."""
        without = np.flatnonzero(rows.shards == -1)
        if len(without) == len(bad):
            return
        _, firsts, inverse = np.unique(self.digests.values, axis=0, return_index=True, return_inverse=True)
        for position in without.tolist():
            first = int(firsts[inverse.reshape(-1)[position]])
            if first in bad:
                bad[position] = bad[first].replace(self.images.name(first), self.images.name(position))
            else:
                rows.put(np.array([position]), rows.of(np.array([first])))


class _Writer:
    """Appends features to the store, several chunks at once, and records their rows; refused ones stay in memory."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
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
        self._sharing.add(np.concatenate(positions), np.concatenate(contents), torch.cat(features))
