"""The feature store of this machine: sets of features below the cache folder."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.sets import StoredSet, delete_sets, stored_sets, touch, trim
from breedclf.features.store.shards import shard_files
from breedclf.features.store.spec import FeatureSpec
from breedclf.files.cache_folder import cache_folder
from breedclf.files.file_cache import DEFAULT_MAX_BYTES, max_bytes_from_environment
from breedclf.files.s3_uri import is_s3

log: logging.Logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from breedclf.features.remote.store import RemoteStore

FOLDER = "feature-store"
OLDER_FOLDER = "features"


@dataclass(frozen=True)
class FeatureStore:
    """A folder of feature sets, each named by the key of its spec; `remote` is a store in S3 that jobs share.

    From `max_bytes` on, the least recently used shards are deleted, except those that are in use. `older` is the folder
    of the features that versions before the store cached, which are deleted.
    """

    folder: Path
    max_bytes: int = DEFAULT_MAX_BYTES
    older: Path | None = None
    remote: RemoteStore | None = None
    _warnings: set[str] = field(default_factory=set, init=False, compare=False, repr=False)

    @classmethod
    def at(cls, folder: str | None, cache_dir: Path | None) -> Self:
        """The store in `folder`, or below the cache folder: `cache_dir`, the environment's or the platform's.

        Raises:
            ConfigError: `BREEDCLF_CACHE_MAX_GB` isn't a size, or `folder` is a URI in S3 and that store can't be used.
        """
        if folder is not None and not is_s3(folder):
            return cls(Path(folder), max_bytes_from_environment())
        remote = None
        if folder is not None:
            from breedclf.features.remote.store import RemoteStore

            remote = RemoteStore.open(folder)
        cache = cache_folder(cache_dir)
        return cls(cache / FOLDER, max_bytes_from_environment(), cache / OLDER_FOLDER, remote)

    def open(self, spec: FeatureSpec) -> FeatureSet:
        """The set of a spec, which is created if it doesn't exist.

        Raises:
            OSError, sqlite3.Error: the disk refuses.
            ValueError: the set is damaged, of a later version, or used by another machine.
        """
        self._delete_older()
        folder = self.folder / spec.key

        def closed(used: set[int], has_grown: bool) -> None:
            with suppress(OSError):
                touch(self.folder, folder, used)
                if has_grown:
                    trim(self.folder, self.max_bytes, folder, used)

        return FeatureSet(folder, spec, closed)

    def bytes_of(self, spec: FeatureSpec) -> int:
        """The size of the features of a spec that are stored.

        Raises:
            OSError: the disk refuses.
        """
        return sum(path.stat().st_size for path in shard_files(self.folder / spec.key).values())

    def warn(self, text: str) -> None:
        """Log a warning, but not a second time."""
        if text not in self._warnings:
            self._warnings.add(text)
            log.warning(text)

    def sets(self) -> list[StoredSet]:
        """The sets, most recently used first."""
        return stored_sets(self.folder)

    def clear(self) -> list[StoredSet]:
        """Delete all sets that no process uses, and return them."""
        self._delete_older()
        return delete_sets(self.folder)

    def _delete_older(self) -> None:
        if self.older is None or not self.older.is_dir():
            return
        size = 0
        with suppress(OSError):  # another process deletes them, too
            for path in self.older.iterdir():
                if path.suffix in (".safetensors", ".lock", ".part"):
                    size += path.stat().st_size
                    path.unlink()
            self.older.rmdir()
        if size:
            log.info("deleted %.1f MB of features that an older version cached in %s", size / 1e6, self.older)
