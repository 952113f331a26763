"""A feature set as passes use it: a store that can't be used or fails is reported once, and the pass goes on."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from filelock import Timeout
from numpy.typing import NDArray

from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.index import Rows
from breedclf.features.store.reading import ShardReader
from breedclf.features.store.spec import FeatureSpec
from breedclf.features.store.store import FeatureStore
from breedclf.files.disk import refusal

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
_FAILURES = (OSError, sqlite3.Error, ValueError)


class StoreAccess:
    """A feature set, or none. Without one and after a failure nothing is found, and nothing can be appended."""

    def __init__(self, stored: FeatureSet | None, warn: Callable[[str], None] = log.warning) -> None:
        self._stored = stored
        self._warn = warn
        self._works = stored is not None

    @classmethod
    @contextmanager
    def opened(cls, store: FeatureStore | None, spec: FeatureSpec) -> Iterator[Self]:
        """The set of a spec; none without a store, or if the store can't be used."""
        stored = None
        if store is not None:
            try:
                stored = store.open(spec)
            except _FAILURES as error:
                store.warn(f"the feature store at {store.folder} can't be used ({_why(error)}); continuing without it")
        try:
            yield cls(stored) if store is None else cls(stored, store.warn)
        finally:
            if stored is not None:
                stored.close()

    @property
    def works(self) -> bool:
        """Whether there is a set that hasn't failed."""
        return self._works

    @property
    def reader(self) -> ShardReader | None:
        """Reads what was found or appended, also after a failure; None if there is no such thing."""
        return None if self._stored is None or self._stored.row_type is None else self._stored.reader

    def find(self, digests: NDArray[np.uint8]) -> Rows:
        """The rows of images by their digests, uint8 [N, 16]."""
        found = self._tried(lambda stored: stored.find(digests))
        return Rows.missing(len(digests)) if found is None else found

    def append(self, digests: NDArray[np.uint8], values: torch.Tensor) -> Rows | None:
        """Store features [N, ...] of images by their digests, uint8 [N, 16]; None if that isn't possible."""
        return self._tried(lambda stored: stored.append(digests, values))

    @property
    def folder(self) -> Path | None:
        """The folder of the set; None if it can't be used."""
        return self._stored.folder if self._stored is not None and self._works else None

    def claim(self, held: ExitStack, digests: NDArray[np.uint8]) -> bool:
        """Take the lock of `computing` until `held` is closed; False if another process has it."""

        def take(stored: FeatureSet) -> bool:
            try:
                held.enter_context(stored.computing(digests, waits=False))
            except Timeout:
                return False
            return True

        return self._tried(take) is not False

    @contextmanager
    def computing(self, digests: NDArray[np.uint8]) -> Iterator[None]:
        """Hold the lock under which features of these images are computed, as far as there is a set."""
        with ExitStack() as held:
            self._tried(lambda stored: held.enter_context(stored.computing(digests)))
            yield

    def _tried(self, use: Callable[[FeatureSet], T]) -> T | None:
        if self._stored is None or not self._works:
            return None
        try:
            return use(self._stored)
        except _FAILURES as error:
            folder = self._stored.folder.parent
            self._warn(f"the feature store at {folder} failed ({_why(error)}); continuing without it")
            self._works = False
            return None


def _why(error: Exception) -> str:
    return refusal(error) if isinstance(error, OSError) else str(error)
