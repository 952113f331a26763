"""Uploads folders to S3: in parallel, only changed files, resumable, and verified."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from breedclf.backends.sagemaker.s3.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    files_below,
    ignore_nothing,
    read_entry,
)
from breedclf.backends.sagemaker.s3.storage import S3Object, Storage
from breedclf.errors import DataError

THREADS = 16
_SINGLE_READ_BYTES = 32 << 20  # files up to this size are read and sent in one piece
_MAX_SHOWN = 3


@dataclass(frozen=True)
class Progress:
    """Progress of an upload; files that S3 already has count as done."""

    files: int
    total_files: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Transfer:
    """The result of an upload."""

    manifest: Manifest
    sent_files: int
    sent_bytes: int
    deleted_files: int


def upload_folder(
    storage: Storage,
    folder: Path,
    uri: str,
    *,
    manifest_uri: str | None = None,
    delete: bool = False,
    threads: int = THREADS,
    report: Callable[[Progress], object] = bool,
    ignored: Callable[[str], bool] = ignore_nothing,
) -> Transfer:
    """Make the objects below `uri` equal to the files below `folder`, without those that are `ignored`.

    Files that are missing or differ in size or MD5 are uploaded. Call it again after an interruption to upload the
    rest. The manifest is stored with the objects, or at `manifest_uri`.

    Raises:
        DataError: the folder can't be read or is empty, `uri` contains files that the folder lacks (without `delete`),
            or the objects differ from the files after the upload.
        BreedclfError: S3 can't be reached or refuses.
    """
    files = files_below(folder, ignored)
    if not files:
        raise DataError(f"{folder} contains no files to upload")
    present = {entry.name: entry for entry in storage.entries(uri)}
    inside = f"{uri.rstrip('/')}/{MANIFEST_NAME}"
    known = _KnownObjects(storage, manifest_uri or inside, present)
    surplus = sorted(set(present) - set(files) - {MANIFEST_NAME})
    if surplus and not delete:
        raise DataError(
            f"{uri} contains {len(surplus)} files that {folder} lacks, such as {', '.join(surplus[:_MAX_SHOWN])}, "
            "which training would use; delete them (delete=True, --delete), or choose another URI"
        )
    sender = _Sender(storage, uri, files, known, report)
    entries = sender.run(threads)
    if surplus:
        storage.delete_objects(uri, surplus)
    manifest = Manifest(entries)
    if sender.sent_files or surplus:
        _verify(storage, uri, manifest)
    if sender.sent_files or surplus or (manifest_uri is None and MANIFEST_NAME not in present):
        storage.put(manifest_uri or inside, manifest.to_json())
    return Transfer(manifest, sender.sent_files, sender.sent_bytes, len(surplus))


class _KnownObjects:
    """Compares objects with files: by ETag, which is the MD5 except with KMS or multipart uploads, or by manifest."""

    def __init__(self, storage: Storage, manifest_uri: str, present: Mapping[str, S3Object]) -> None:
        self._storage = storage
        self._manifest_uri = manifest_uri
        self._present = present
        self._lock = threading.Lock()
        self._read = False
        self._manifest: Manifest | None = None

    def etag_if_equal(self, name: str, entry: FileEntry) -> str | None:
        """The object's ETag if it equals this file, otherwise None."""
        found = self._present.get(name)
        if found is None or found.size_bytes != entry.size_bytes:
            return None
        if found.etag == entry.md5:
            return found.etag
        known = self._known(name)
        equal = known is not None and known.md5 == entry.md5 and known.etag == found.etag
        return found.etag if equal else None

    def _known(self, name: str) -> FileEntry | None:
        with self._lock:
            if not self._read:
                text = self._storage.get(self._manifest_uri)
                self._manifest = None if text is None else Manifest.from_json(text)
                self._read = True
        return None if self._manifest is None else self._manifest.files.get(name)


class _Sender:
    """Uploads files with several threads."""

    def __init__(
        self,
        storage: Storage,
        uri: str,
        files: Mapping[str, Path],
        known: _KnownObjects,
        report: Callable[[Progress], object],
    ) -> None:
        self._storage = storage
        self._uri = uri.rstrip("/")
        self._files = files
        self._known = known
        self._report = report
        self._lock = threading.Lock()
        sizes = [path.stat().st_size for path in files.values()]
        self._done = Progress(0, len(files), 0, sum(sizes))
        self.sent_files = 0
        self.sent_bytes = 0

    def run(self, threads: int) -> dict[str, FileEntry]:
        pool = ThreadPoolExecutor(threads, thread_name_prefix="breedclf-upload")
        try:
            started: dict[str, Future[FileEntry]] = {
                name: pool.submit(self._one, name, path) for name, path in self._files.items()
            }
            for each in wait(started.values(), return_when=FIRST_EXCEPTION).done:
                each.result()  # raises the first error before waiting for the rest
            return {name: each.result() for name, each in started.items()}
        finally:
            pool.shutdown(cancel_futures=True)

    def _one(self, name: str, path: Path) -> FileEntry:
        content = _content(path)
        entry = read_entry(path) if content is None else _entry_of(content)
        etag = self._known.etag_if_equal(name, entry)
        if etag is None:
            etag = self._send(name, path, content)
        self._count(entry.size_bytes)
        return replace(entry, etag=None if etag == entry.md5 else etag)

    def _send(self, name: str, path: Path, content: bytes | None) -> str:
        uri = f"{self._uri}/{name}"
        etag = self._storage.put_file(uri, path) if content is None else self._storage.put(uri, content)
        with self._lock:
            self.sent_files += 1
            self.sent_bytes += path.stat().st_size if content is None else len(content)
        return etag

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self._done = replace(self._done, files=self._done.files + 1, bytes=self._done.bytes + size_bytes)
            self._report(self._done)


def _content(path: Path) -> bytes | None:
    """The content of a file; None if it is too large for one piece."""
    try:
        if path.stat().st_size > _SINGLE_READ_BYTES:
            return None
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error


def _entry_of(content: bytes) -> FileEntry:
    return FileEntry(len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())


def _verify(storage: Storage, uri: str, manifest: Manifest) -> None:
    """Check that the objects equal the files."""
    present = {entry.name: entry for entry in storage.entries(uri) if entry.name != MANIFEST_NAME}
    wrong = sorted(
        name
        for name, entry in manifest.files.items()
        if name not in present
        or (present[name].size_bytes, present[name].etag) != (entry.size_bytes, entry.etag or entry.md5)
    )
    wrong += sorted(set(present) - set(manifest.files))
    if wrong:
        raise DataError(
            f"after the upload, {len(wrong)} files at {uri} differ, such as {', '.join(wrong[:_MAX_SHOWN])}; "
            "another process may be writing there; upload again"
        )
