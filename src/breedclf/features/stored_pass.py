"""The pass over images that takes their features from the store, and computes and stores the missing ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass
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
            missing, buffer, computed = self._missing(rows), FeatureBuffer(0), 0
            if len(missing):
                with access.computing():
                    rows.put(missing, access.find(self.digests.values[missing]))
                    buffer, computed = self._compute(missing[~rows.found[missing]], access, rows, bad)
            kept = np.flatnonzero(rows.shards != -1)
            found = FoundFeatures(rows.of(kept), torch.from_numpy(kept), bad, access.reader, buffer.values)
            return found, FeatureCounts(computed, len(kept) - computed)

    def _missing(self, rows: Rows) -> NDArray[np.int64]:
        """The positions of images whose features must be computed, once per content."""
        without = np.flatnonzero(~rows.found)
        _, firsts = np.unique(self.digests.values[without], axis=0, return_index=True)
        return without[np.sort(firsts)]

    def _compute(
        self, missing: NDArray[np.int64], access: StoreAccess, rows: Rows, bad: dict[int, str]
    ) -> tuple[FeatureBuffer, int]:
        """Compute missing features and append them to the store; returns those that it doesn't take, and how many.

        Other images with the same content share them. If the content was another one when the image was decoded, or
        couldn't be decoded, the others are computed too.
        """
        if len(missing):
            log.info("%s: %d of %d images through the backbone", self.title, len(missing), len(self.images))
        with _Writer(access, rows, np.count_nonzero(~rows.found)) as writer:
            changed = self._pass(missing, writer, bad)
            writer.flush()
            self._share(rows, {*bad, *changed})
            others = np.setdiff1d(np.flatnonzero(rows.shards == -1), list(bad))
            changed += self._pass(others, writer, bad)
        if changed:
            log.warning(
                "%s: %d images changed while they were read; the features are those of the new contents; the first: %s",
                self.title,
                len(changed),
                self.images.name(changed[0]),
            )
        return writer.refused, writer.count

    def _pass(self, missing: NDArray[np.int64], writer: _Writer, bad: dict[int, str]) -> list[int]:
        """Compute images; unreadable ones go to `bad`. Returns the positions of those whose content has changed."""
        changed: list[int] = []
        done = len(self.images) - len(missing)
        if not len(missing):
            return changed
        for chunk, features in self.extractor.computed(
            EncodedImages(self.images),
            missing.tolist(),
            view=self.view,
            title=self.title,
            on_chunk=lambda new: self.on_chunk(done + new),
        ):
            bad.update({int(missing[at]): reason for at, reason in chunk.bad.items()})
            positions, contents = missing[chunk.positions.numpy()], chunk.digests.numpy()
            if len(positions):
                changed += positions[(self.digests.values[positions] != contents).any(1)].tolist()
                writer.add(positions, features.cpu(), contents)
        return changed

    def _share(self, rows: Rows, unlike: Set[int]) -> None:
        """Give images without features the rows of others with the same content, except of those in `unlike`."""
        without = np.flatnonzero(rows.shards == -1)
        if len(without) == len(unlike & set(without.tolist())):
            return
        _, firsts, inverse = np.unique(self.digests.values, axis=0, return_index=True, return_inverse=True)
        first = firsts[inverse.reshape(-1)[without]]
        equal = ~np.isin(first, list(unlike))
        rows.put(without[equal], rows.of(first[equal]))


class _Writer:
    """Appends features to the store, several chunks at once, and records their rows; refused ones stay in memory."""

    def __init__(self, access: StoreAccess, rows: Rows, count: int) -> None:
        self.count = 0
        self.refused = FeatureBuffer(count)
        self._access, self._rows = access, rows
        self._waiting: list[tuple[NDArray[np.int64], torch.Tensor, NDArray[np.uint8]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flush()

    def add(self, positions: NDArray[np.int64], features: torch.Tensor, contents: NDArray[np.uint8]) -> None:
        self.count += len(positions)
        self._waiting.append((positions, features, contents))
        if sum(len(each) for each, *_ in self._waiting) >= IMAGES_PER_WRITE:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        positions, features, contents = zip(*self._waiting, strict=True)
        self._waiting = []
        values = torch.cat(features)
        rows = self._access.append(np.concatenate(contents), values)
        self._rows.put(np.concatenate(positions), self.refused.add(values) if rows is None else rows)
