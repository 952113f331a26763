"""The feature store of this machine: sets of features below the cache folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.spec import FeatureSpec
from breedclf.files.cache_folder import cache_folder

if TYPE_CHECKING:
    from breedclf.features.remote.store import RemoteStore

FOLDER = "feature-store"
IN_S3 = "s3://"


@dataclass(frozen=True)
class FeatureStore:
    """A folder of feature sets, each named by the key of its spec; `remote` is a store in S3 that jobs share."""

    folder: Path
    remote: RemoteStore | None = None

    @classmethod
    def at(cls, folder: str | None, cache_dir: Path | None) -> Self:
        """The store in `folder`, or below the cache folder: `cache_dir`, the environment's or the platform's.

        Raises:
            ConfigError: `folder` is a URI in S3, and that store can't be used.
        """
        if folder is not None and folder.startswith(IN_S3):
            from breedclf.features.remote.store import RemoteStore

            return cls(cache_folder(cache_dir) / FOLDER, RemoteStore.open(folder))
        return cls(cache_folder(cache_dir) / FOLDER if folder is None else Path(folder))

    def open(self, spec: FeatureSpec) -> FeatureSet:
        """The set of a spec, which is created if it doesn't exist.

        Raises:
            OSError, sqlite3.Error: the disk refuses, or the index is damaged.
            ValueError: the set has another format.
        """
        opened = FeatureSet(self.folder / spec.key, spec)
        os.utime(opened.folder)
        return opened
