"""The folder of a store: one JSON file per model, and the files of each version below the SHA-256 of their contents.

    STORE/models/NAME.json      the record: versions, aliases, endpoint
    STORE/objects/DIGEST/       a model directory, never changed after it is in place
    STORE/store.lock            held while anything is changed
    STORE/promotions/NAME.lock  held while a version of a model is made live

Everything is written beside its place and then renamed, files before the record that names them. So a process that is
killed leaves at most files that no record names, and the next one that collects garbage removes them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from breedclf.config.base import explain
from breedclf.errors import ArtifactError, ConfigError
from breedclf.files.disk import refusal, sync_file, sync_folder, write_atomic, writing
from breedclf.model_store.records import SCHEMA_VERSION, ModelRecord, check_model_name
from breedclf.text.plain_json import plain_json

LOCK_SECONDS = 60.0
_PART = ".part"
_BLOCK_BYTES = 1 << 20
_REMEDY = "make room, then repeat the command; nothing was changed"


@dataclass(frozen=True)
class StoreFolder:
    """The files of a store. Changing them requires its lock; reading doesn't."""

    path: Path

    @property
    def records(self) -> Path:
        return self.path / "models"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def object(self, digest: str) -> Path:
        """Where the files with this digest are."""
        return self.objects / digest

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process changes the store, and keep others from it.

        Raises:
            DiskError: the folder can't be written.
            ConfigError: another process holds the lock for longer than a minute.
        """
        with self._lock(self.path / "store.lock", f"store {self.path} is being changed by another process"):
            yield

    @contextmanager
    def promotion(self, name: str) -> Iterator[None]:
        """Wait until no other process moves the live version of a model; other changes of the store go on.

        Raises:
            DiskError: the folder can't be written.
            ConfigError: another process holds the lock for longer than a minute.
        """
        self.load(name)
        lock = self.path / "promotions" / f"{name}.lock"
        with self._lock(lock, f"a version of {name!r} is being promoted by another process"):
            yield

    @contextmanager
    def _lock(self, file: Path, who: str) -> Iterator[None]:
        with writing(self.path, "choose a folder that can be written as the store"):
            self._create(self.records, self.objects, file.parent)
            lock = FileLock(file, timeout=LOCK_SECONDS)
            try:
                lock.acquire()
            except Timeout as error:
                raise ConfigError(f"{who} for over {LOCK_SECONDS:g} s: wait for it") from error
        try:
            yield
        finally:
            lock.release()

    def _create(self, *folders: Path) -> None:
        for folder in folders:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                sync_folder(folder.parent)

    def names(self) -> list[str]:
        """The names of the models, in alphabetical order."""
        return sorted(file.stem for file in self.records.glob("*.json")) if self.records.is_dir() else []

    def load(self, name: str) -> ModelRecord:
        """The record of a model.

        Raises:
            ConfigError: there is none, or a newer version wrote it.
            ArtifactError: its file is damaged.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(self.names()) or "none"
            raise ConfigError(f"store {self.path} has no model {name!r}; there are: {known}")
        return found

    def find(self, name: str) -> ModelRecord | None:
        """The record of a model, None if there is none."""
        file = self.records / f"{check_model_name(name)}.json"
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            version = document["schema_version"]
            if version > SCHEMA_VERSION:
                raise ConfigError(
                    f"{file} was written by a newer breedclf (schema_version {version}, known {SCHEMA_VERSION}): "
                    "upgrade breedclf"
                )
            record = ModelRecord.model_validate(document)
            if record.name != name:
                raise ValueError(f"it is of a model {record.name!r}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, ConfigError):
                raise
            why = explain(error, ModelRecord.model_fields) if isinstance(error, ValidationError) else error
            raise ArtifactError(
                f"{file} can't be read: {why}; restore it from a copy: the models themselves are in {self.objects}"
            ) from error
        return record

    def save(self, record: ModelRecord) -> None:
        """Write a record atomically; the files of its versions must be in place.

        Raises:
            DiskError: it can't be written; the old one stays.
        """
        file = self.records / f"{record.name}.json"
        with writing(file, _REMEDY):
            write_atomic(file, plain_json(record.model_dump(mode="json"), indent=2) + "\n", sync=True)

    def put(self, source: Path, sha256: Mapping[str, str]) -> None:
        """Copy the files of a model into the store, if they aren't there, whole, already.

        Args:
            source: the model directory.
            sha256: of each of its files, by name.

        Raises:
            DiskError: they can't be written; nothing is left behind.
            ArtifactError: the source changed meanwhile, or is gone.
        """
        digest = digest_of(sha256)
        target = self.object(digest)
        if self._is_whole(digest):
            return
        part = target.with_name(digest + _PART)
        with writing(self.objects, _REMEDY):
            shutil.rmtree(part, ignore_errors=True)
            try:
                part.mkdir()
                if {name: _copied(source / name, part / name) for name in sha256} != dict(sha256):
                    raise ArtifactError(f"{source} changed while it was added: add it again")
                sync_folder(part)
                if target.exists():  # damaged
                    self._remove_object(target)
                part.rename(target)
                sync_folder(self.objects)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def check_object(self, digest: str) -> None:
        """Check that the files of a version are as they were added.

        Raises:
            ArtifactError: they aren't.
        """
        if not self._is_whole(digest):
            raise ArtifactError(
                f"{self.object(digest)} was changed or is damaged since it was added: add the same model again, which "
                "replaces these files"
            )

    def _is_whole(self, digest: str) -> bool:
        folder = self.object(digest)
        try:
            return digest_of(sha256_of(folder, sorted(each.name for each in folder.iterdir()))) == digest
        except (OSError, ArtifactError):
            return False

    def remove_unused(self) -> list[str]:
        """Remove the files that no record names, and what was left half-written; the names of what was removed.

        Raises:
            ArtifactError, ConfigError: a record can't be read, so that nothing is removed.
        """
        used = {version.digest for name in self.names() for version in self.load(name).versions}
        unused = [each for each in self.objects.iterdir() if each.name not in used] if self.objects.is_dir() else []
        for each in unused:
            self._remove_object(each)
        leftovers = list(self.records.glob(f".*{_PART}"))
        for each in leftovers:
            each.unlink(missing_ok=True)
        return sorted(each.name for each in [*unused, *leftovers])

    def _remove_object(self, folder: Path) -> None:
        hidden = folder.with_name(folder.name.removesuffix(_PART) + ".old" + _PART)
        if not folder.name.endswith(_PART):
            shutil.rmtree(hidden, ignore_errors=True)
            folder.rename(hidden)  # an object is there whole or not at all
            folder = hidden
        shutil.rmtree(folder, ignore_errors=True)


def sha256_of(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of files, by name.

    Raises:
        ArtifactError: one can't be read.
    """
    found = {}
    for name in files:
        try:
            with (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ArtifactError(f"{folder / name} can't be read: {refusal(error)}") from error
    return found


def digest_of(sha256: Mapping[str, str]) -> str:
    """The SHA-256 of a folder: of the names of its files, each with the SHA-256 of its contents."""
    lines = (f"{name}\0{sha256[name]}\n" for name in sorted(sha256))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _copied(source: Path, target: Path) -> str:
    """Copy a file to the disk itself, and return the SHA-256 of what was copied.

    Raises:
        ArtifactError: it can't be read.
        OSError: it can't be written.
    """
    total = hashlib.sha256()
    with target.open("wb") as copy:
        for block in _blocks(source):
            total.update(block)
            copy.write(block)
    sync_file(target)
    return total.hexdigest()


def _blocks(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise ArtifactError(f"{source} can't be read: {refusal(error)}") from error
