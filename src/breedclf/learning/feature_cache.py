"""Features kept on disk: one checked file a key, written once however many processes want it, oldest out first."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from breedclf.errors import ConfigError
from breedclf.learning.cache_folder import cache_folder

log = logging.getLogger(__name__)

FORMAT = "1"
DEFAULT_MAX_BYTES = 10 * 1024**3
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Features:
    """Features of the readable pictures of a list.

    `values` is float32 [N, D]; `kept` is int64 [N], the position of each row's picture in the list; `bad` maps the
    positions of the others to the reason.
    """

    values: torch.Tensor
    kept: torch.Tensor
    bad: dict[int, str]


@dataclass(frozen=True)
class CacheEntry:
    """One file of the cache."""

    path: Path
    size_bytes: int
    used_at: float


@dataclass(frozen=True)
class FeatureCache:
    """A folder of feature files, each named by the hash of everything that its numbers depend on."""

    folder: Path
    max_bytes: int = DEFAULT_MAX_BYTES

    @classmethod
    def at(cls, folder: Path | None) -> FeatureCache:
        """The cache in `folder`; by default the one that the environment names, or the platform's."""
        return cls(cache_folder(folder) / "features", _max_bytes_from_environment())

    def get_or_compute(self, key: str, compute: Callable[[], Features]) -> Features:
        """The features of `key`; of several processes that want them, one computes and the others wait.

        A file that is cut short, altered or of another version is computed again. When nothing can be written, as on a
        full disk, the features are used uncached, with a warning.
        """
        path = self.folder / f"{key}{_SUFFIX}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
            lock.acquire()
        except OSError as error:
            log.warning("the feature cache at %s can't be used (%s); going on without it", self.folder, error)
            return compute()
        try:
            found = _read(path)
            if found is None:
                found = compute()
                self._write(path, found)
            return found
        finally:
            lock.release()

    def entries(self) -> list[CacheEntry]:
        """What the cache holds, most recently used first."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            status = path.stat()
            found.append(CacheEntry(path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: entry.used_at, reverse=True)

    def clear(self) -> list[CacheEntry]:
        """Delete every entry and say which there were."""
        entries = self.entries()
        for entry in entries:
            _delete(entry)
        return entries

    def _write(self, path: Path, features: Features) -> None:
        try:
            _write(path, features)
        except OSError as error:
            log.warning("features can't be cached at %s (%s); going on without", path, error)
            return
        total = 0
        for entry in self.entries():
            total += entry.size_bytes
            if total > self.max_bytes and entry.path != path:
                _delete(entry)


def cache_key(**parts: object) -> str:
    """A file name made from everything that decides the numbers."""
    text = json.dumps({**parts, "format": FORMAT}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _max_bytes_from_environment() -> int:
    text = os.environ.get("BREEDCLF_CACHE_MAX_GB")
    if text is None:
        return DEFAULT_MAX_BYTES
    try:
        return int(float(text) * 1024**3)
    except ValueError as error:
        raise ConfigError(f"BREEDCLF_CACHE_MAX_GB={text!r}: give the cache's size limit as a number") from error


def _read(path: Path) -> Features | None:
    """The features of a whole and unaltered file, or None."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            values, kept = file.get_tensor("values"), file.get_tensor("kept")
        if about.get("format") == FORMAT and about.get("checksum") == _checksum(values, kept):
            os.utime(path)
            return Features(values, kept, {int(at): why for at, why in json.loads(about["bad"]).items()})
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        log.debug("unreadable cache file %s: %s", path, error)
    log.warning("the cached features in %s are damaged or of another version; computing them again", path)
    return None


def _write(path: Path, features: Features) -> None:
    about = {
        "format": FORMAT,
        "checksum": _checksum(features.values, features.kept),
        "bad": json.dumps({str(at): why for at, why in features.bad.items()}),
    }
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        temporary = Path(file.name)
    try:
        save_file({"values": features.values, "kept": features.kept}, temporary, metadata=about)
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(*tensors: torch.Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _delete(entry: CacheEntry) -> None:
    entry.path.unlink(missing_ok=True)
    entry.path.with_suffix(".lock").unlink(missing_ok=True)
