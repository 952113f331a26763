"""The pass over images that takes their features from the store, and computes and stores the missing ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.data.image_source import EncodedImages
from breedclf.data.split import SplitImages
from breedclf.features.digests import ContentDigests
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.found import FeatureBuffer, FoundFeatures
from breedclf.features.store.index import Rows
from breedclf.features.store.store import FeatureStore
from breedclf.features.store_access import StoreAccess

if TYPE_CHECKING:
    from breedclf.features.remote.store import RemoteStore

OnAppend = Callable[[NDArray[np.uint8]], bool]

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
    """

    extractor: FeatureExtractor
    images: SplitImages
    digests: ContentDigests
    view: int
    title: str
    on_chunk: Callable[[int], None]

    def run(self, store: FeatureStore | None) -> tuple[FoundFeatures, FeatureCounts]:
        """The features of all readable images in the order of the list; without a store all of them are computed.

        A store that can't be used or fails is reported, and the pass goes on; what isn't in the store is in memory.

        Raises:
            ImageError: an image can't be read, with the extractor's `stop_at_bad`.
        """
        with StoreAccess.opened(store, self.extractor.spec(self.view)) as access:
            rows, bad = access.find(self.digests.values), dict[int, str]()
            missing, writer = self._missing(rows), _Writer(access, rows, 0)
            remote = None if store is None or not access.works else store.remote
            if len(missing) or remote is not None:
                with access.computing(self.digests.values):
                    rows.put(missing, access.find(self.digests.values[missing]))
                    missing = self._missing(rows)
                    with _Writer(access, rows, len(missing)) as writer:
                        if remote is not None:
                            missing = self._share(remote, missing, access, rows, writer, bad)
                        self._compute(missing, writer, bad)
            self._repeat(rows, bad)
            kept = np.flatnonzero(rows.shards != -1)
            found = FoundFeatures(rows.of(kept), torch.from_numpy(kept), bad, access.reader, writer.refused.values)
            return found, FeatureCounts(writer.count, len(kept) - writer.count)

    def _missing(self, rows: Rows) -> NDArray[np.int64]:
        """The positions of images whose features must be computed, once per content."""
        without = np.flatnonzero(~rows.found)
        _, firsts = np.unique(self.digests.values[without], axis=0, return_index=True)
        return without[np.sort(firsts)]

    def _share(
        self,
        remote: RemoteStore,
        missing: NDArray[np.int64],
        access: StoreAccess,
        rows: Rows,
        writer: _Writer,
        bad: dict[int, str],
    ) -> NDArray[np.int64]:
        """Fetch or compute missing features together with other jobs; returns the positions that are still missing."""
        digests = self.digests.values
        firsts = np.sort(np.unique(digests, axis=0, return_index=True)[1])

        def compute(some: NDArray[np.int64], left: int, on_append: OnAppend) -> None:
            positions = firsts[some]
            self._compute(positions[rows.shards[positions] == -1], writer, bad, left, on_append)

        remote.share(self.extractor.spec(self.view), access, digests[firsts], compute, self.on_chunk)
        unknown = missing[rows.shards[missing] == -1]
        rows.put(unknown, access.find(digests[unknown]))
        return np.array([at for at in unknown.tolist() if rows.shards[at] == -1 and at not in bad], np.int64)

    def _compute(
        self,
        missing: NDArray[np.int64],
        writer: _Writer,
        bad: dict[int, str],
        left: int = 0,
        on_append: OnAppend = lambda _: True,
    ) -> None:
        """Compute missing features and append them to the store; `left` others are missing besides."""
        if not len(missing):
            return
        log.info("%s: %d of %d images through the backbone", self.title, len(missing), len(self.images))
        writer.on_append, writer.goes_on = on_append, True
        for positions, features, contents in self._computed(missing, bad, len(self.images) - len(missing) - left):
            writer.add(positions, features, contents)
            if not writer.goes_on:
                break
        writer.flush()

    def _computed(
        self, missing: NDArray[np.int64], bad: dict[int, str], done: int
    ) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, NDArray[np.uint8]]]:
        """The positions, features and digests of the contents of images, by chunks; unreadable ones go to `bad`."""
        changed = 0
        for chunk, features in self.extractor.computed(
            EncodedImages(self.images),
            missing.tolist(),
            view=self.view,
            title=self.title,
            on_chunk=lambda new: self.on_chunk(done + new),
        ):
            bad.update({int(missing[at]): reason for at, reason in chunk.bad.items()})
            positions, contents = missing[chunk.positions.numpy()], chunk.digests.numpy()
            changed += int((self.digests.values[positions] != contents).any(1).sum())
            if len(positions):
                yield positions, features.cpu(), contents
        if changed:
            log.warning("%s: %d images changed while they were read", self.title, changed)

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
    """Appends features to the store, several chunks at once, and records their rows; refused ones stay in memory.

    `count` images were added. `on_append` is called with the digests of what the store took; `goes_on` is its answer.
    """

    def __init__(self, access: StoreAccess, rows: Rows, count: int) -> None:
        self.refused, self.count = FeatureBuffer(count), 0
        self.on_append: OnAppend = lambda _: True
        self.goes_on = True
        self._access, self._rows = access, rows
        self._waiting: list[tuple[NDArray[np.int64], torch.Tensor, NDArray[np.uint8]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flush()

    def add(self, positions: NDArray[np.int64], features: torch.Tensor, contents: NDArray[np.uint8]) -> None:
        self._waiting.append((positions, features, contents))
        if sum(len(each) for each, *_ in self._waiting) >= IMAGES_PER_WRITE:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        positions, features, contents = zip(*self._waiting, strict=True)
        self._waiting = []
        values, digests = torch.cat(features), np.concatenate(contents)
        self.count += len(values)
        rows = self._access.append(digests, values)
        self._rows.put(np.concatenate(positions), self.refused.add(values) if rows is None else rows)
        if rows is not None:
            self.goes_on = self.on_append(digests)
