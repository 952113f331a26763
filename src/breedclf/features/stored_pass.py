"""The pass over images that takes their features from the store, and computes and stores the missing ones."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.data.image_source import EncodedImages
from breedclf.data.split import SplitImages
from breedclf.features.digests import ContentDigests
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.index import Rows
from breedclf.features.store.store import FeatureStore
from breedclf.features.values import Features
from breedclf.files.disk import refusal

if TYPE_CHECKING:
    from breedclf.features.remote.store import RemoteStore

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

    def run(self, store: FeatureStore | None) -> tuple[Features, FeatureCounts]:
        """The features of all readable images in the order of the list; without a store all of them are computed.

        A store that can't be used or fails is reported, and the pass goes on without it.

        Raises:
            ImageError: an image can't be read, with the extractor's `stop_at_bad`.
        """
        opened = None if store is None else _opened(store, self.extractor, self.view)
        if opened is None:
            return self._features(None)
        with opened:
            missing = self._missing(_found(opened, self.digests.values))
            with opened.computing() if len(missing) else nullcontext():
                shared = self._share(opened, store.remote) if store is not None and store.remote is not None else 0
                found, counts = self._features(opened)
                return found, counts + FeatureCounts(shared, -shared)

    def _share(self, stored: FeatureSet, remote: RemoteStore) -> int:
        """Take features from the store in S3, or compute them and put them there; returns how many were computed."""
        counts = FeatureCounts()
        firsts = np.sort(np.unique(self.digests.values, axis=0, return_index=True)[1])

        def compute(missing: NDArray[np.int64], done: int, on_append: Callable[[NDArray[np.uint8]], bool]) -> None:
            nonlocal counts
            log.info("%s: %d of %d images through the backbone", self.title, len(missing), len(firsts))

            def append(digests: NDArray[np.uint8], features: torch.Tensor) -> bool:
                return _append(stored, digests, features) and on_append(digests)

            with _Writer(append) as writer:
                for _, features, contents in self._computed(firsts[missing], done, {}):
                    counts += FeatureCounts(computed=len(features))
                    writer.add(contents, features)
                    if not writer.goes_on:
                        break

        with _reporting(stored):
            remote.share(stored, self.digests.values[firsts], compute, self.on_chunk)
        return counts.computed

    def _features(self, stored: FeatureSet | None) -> tuple[Features, FeatureCounts]:
        count, digests = len(self.images), self.digests.values
        rows = _found(stored, digests)
        missing, there = self._missing(rows), np.flatnonzero(rows.found)
        values, bad = torch.empty(0, 0), dict[int, str]()
        is_known = rows.found.copy()
        if stored is not None and len(there):
            assert stored.row_type is not None
            values = stored.row_type.empty(count)
            values[torch.from_numpy(there)] = stored.read(rows.of(there))
        if len(missing):
            log.info("%s: %d of %d images through the backbone", self.title, len(missing), count)
            with _Writer(partial(_append, stored)) as writer:
                for positions, features, contents in self._computed(missing, count - len(missing), bad):
                    if not len(values):
                        values = torch.empty(count, *features.shape[1:], dtype=features.dtype)
                    values[torch.from_numpy(positions)] = features
                    is_known[positions] = True
                    writer.add(contents, features)
        for position, first in self._repeated(is_known):
            if first in bad:
                bad[position] = bad[first].replace(self.images.name(first), self.images.name(position))
            else:
                values[position] = values[first]
                is_known[position] = True
        kept = np.flatnonzero(is_known)
        found = values if len(kept) == count else values[torch.from_numpy(kept)]
        counts = FeatureCounts(len(missing) - len(set(missing.tolist()) & set(bad)), 0)
        counts += FeatureCounts(0, len(kept) - counts.computed)
        return Features(found, torch.from_numpy(kept), bad), counts

    def _missing(self, rows: Rows) -> NDArray[np.int64]:
        """The positions of images whose features must be computed, once per content."""
        _, firsts = np.unique(self.digests.values, axis=0, return_index=True)
        first = np.zeros(len(self.images), bool)
        first[firsts] = True
        return np.flatnonzero(first & ~rows.found)

    def _repeated(self, is_known: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        """The positions of images without features whose content an earlier image has, and the position of that one."""
        unknown = np.flatnonzero(~is_known)
        if not len(unknown):
            return
        _, firsts, inverse = np.unique(self.digests.values, axis=0, return_index=True, return_inverse=True)
        for position in unknown.tolist():
            first = int(firsts[inverse.reshape(-1)[position]])
            if first != position:
                yield position, first

    def _computed(
        self, missing: NDArray[np.int64], done: int, bad: dict[int, str]
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


class _Writer:
    """Appends features several chunks at once, until `append`, which writes them, returns False."""

    def __init__(self, append: Callable[[NDArray[np.uint8], torch.Tensor], bool]) -> None:
        self.goes_on = True
        self._append = append
        self._digests: list[NDArray[np.uint8]] = []
        self._features: list[torch.Tensor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._flush()

    def add(self, digests: NDArray[np.uint8], features: torch.Tensor) -> None:
        if not self.goes_on:
            return
        self._digests.append(digests)
        self._features.append(features)
        if sum(map(len, self._digests)) >= IMAGES_PER_WRITE:
            self._flush()

    def _flush(self) -> None:
        if self._digests:
            self.goes_on = self._append(np.concatenate(self._digests), torch.cat(self._features))
            self._digests, self._features = [], []


def _append(stored: FeatureSet | None, digests: NDArray[np.uint8], features: torch.Tensor) -> bool:
    """Append features to a set; if the disk refuses, it warns and returns False."""
    if stored is None:
        return False
    with _reporting(stored) as worked:
        stored.append(digests, features)
    return bool(worked)


def _opened(store: FeatureStore, extractor: FeatureExtractor, view: int) -> FeatureSet | None:
    try:
        return store.open(extractor.spec(view))
    except (OSError, sqlite3.Error, ValueError) as error:
        log.warning("the feature store at %s can't be used (%s); continuing without it", store.folder, _why(error))
        return None


def _found(stored: FeatureSet | None, digests: NDArray[np.uint8]) -> Rows:
    if stored is not None:
        with _reporting(stored):
            return stored.find(digests)
    return Rows(*(np.full(len(digests), -1, np.int64) for _ in range(3)))


@contextmanager
def _reporting(stored: FeatureSet) -> Iterator[list[bool]]:
    """Log a failure of the store, and go on; the list that it gives is empty then."""
    worked = [True]
    try:
        yield worked
    except (OSError, sqlite3.Error, ValueError) as error:
        worked.clear()
        log.warning("the feature store at %s failed (%s); continuing without it", stored.folder, _why(error))


def _why(error: Exception) -> str:
    return refusal(error) if isinstance(error, OSError) else str(error)
