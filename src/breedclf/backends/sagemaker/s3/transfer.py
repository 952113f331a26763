"""Folders into S3: in parallel, only what changed, so that an upload that was cut off goes on; verified after."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from breedclf.backends.sagemaker.s3.manifest import MANIFEST_NAME, FileEntry, Manifest, files_below, nothing, read_entry
from breedclf.backends.sagemaker.s3.storage import S3Object, Storage
from breedclf.errors import DataError

THREADS = 16
_WHOLE_BYTES = 32 << 20  # a file up to this size is read and sent as a whole
_SOME = 3


@dataclass(frozen=True)
class Progress:
    """How far an upload is; files that were there already count as done."""

    files: int
    total_files: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Transfer:
    """What an upload did."""

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
    tell: Callable[[Progress], object] = bool,
    unread: Callable[[str], bool] = nothing,
) -> Transfer:
    """Make the objects below `uri` equal to the files below `folder`, without those that are `unread`.

    Sent is what S3 lacks or holds with another size or MD5. Cut off, it is called again and sends the rest. The
    manifest lies among the objects, or at `manifest_uri`.

    Raises:
        DataError: the folder can't be read or holds nothing, `uri` holds what the folder lacks (and `delete` is off),
            or S3 holds something else than what was sent.
        BreedclfError: S3 can't be reached or refuses.
    """
    files = files_below(folder, unread)
    if not files:
        raise DataError(f"{folder} holds no files to upload")
    there = {entry.name: entry for entry in storage.entries(uri)}
    inside = f"{uri.rstrip('/')}/{MANIFEST_NAME}"
    marks = _Marks(storage, manifest_uri or inside, there)
    surplus = sorted(set(there) - set(files) - {MANIFEST_NAME})
    if surplus and not delete:
        raise DataError(
            f"{uri} holds {len(surplus)} files that {folder} lacks, such as {', '.join(surplus[:_SOME])}, and a "
            "training would learn from them; delete them (delete=True, --delete), or choose another address"
        )
    sender = _Sender(storage, uri, files, there, marks, tell)
    entries = sender.run(threads)
    if surplus:
        storage.delete_objects(uri, surplus)
    manifest = Manifest(entries)
    if sender.sent_files or surplus:
        _verify(storage, uri, manifest)
    if sender.sent_files or surplus or (manifest_uri is None and MANIFEST_NAME not in there):
        storage.put(manifest_uri or inside, manifest.to_json())
    return Transfer(manifest, sender.sent_files, sender.sent_bytes, len(surplus))


class _Marks:
    """Tells whether an object is a file that is known by its MD5; S3's ETag is that, but not with KMS or in parts."""

    def __init__(self, storage: Storage, manifest_uri: str, there: Mapping[str, S3Object]) -> None:
        self._storage = storage
        self._manifest_uri = manifest_uri
        self._there = there
        self._lock = threading.Lock()
        self._read = False
        self._manifest: Manifest | None = None

    def etag_if_equal(self, name: str, entry: FileEntry) -> str | None:
        """The object's ETag if it is this file, else None."""
        found = self._there.get(name)
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
    """Sends files from several threads."""

    def __init__(
        self,
        storage: Storage,
        uri: str,
        files: Mapping[str, Path],
        there: Mapping[str, S3Object],
        marks: _Marks,
        tell: Callable[[Progress], object],
    ) -> None:
        self._storage = storage
        self._uri = uri.rstrip("/")
        self._files = files
        self._there = there
        self._marks = marks
        self._tell = tell
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
                each.result()  # raises what went wrong, before the rest is waited for
            return {name: each.result() for name, each in started.items()}
        finally:
            pool.shutdown(cancel_futures=True)

    def _one(self, name: str, path: Path) -> FileEntry:
        content = _content(path)
        entry = read_entry(path) if content is None else _entry_of(content)
        etag = self._marks.etag_if_equal(name, entry)
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
            self._tell(self._done)


def _content(path: Path) -> bytes | None:
    """What a file holds; None if it is too large for that."""
    try:
        if path.stat().st_size > _WHOLE_BYTES:
            return None
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error


def _entry_of(content: bytes) -> FileEntry:
    return FileEntry(len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())


def _verify(storage: Storage, uri: str, manifest: Manifest) -> None:
    """What S3 lists now is what the files are."""
    there = {entry.name: entry for entry in storage.entries(uri) if entry.name != MANIFEST_NAME}
    wrong = sorted(
        name
        for name, entry in manifest.files.items()
        if name not in there
        or (there[name].size_bytes, there[name].etag) != (entry.size_bytes, entry.etag or entry.md5)
    )
    wrong += sorted(set(there) - set(manifest.files))
    if wrong:
        raise DataError(
            f"after the upload {uri} differs in {len(wrong)} files, such as {', '.join(wrong[:_SOME])}; "
            "is someone else writing there? Upload again"
        )
