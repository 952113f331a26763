"""The folder of a store: one JSON file per model, and the files of each version below the SHA-256 of their contents.

    STORE/models/NAME.json      the record: versions, aliases, endpoint
    STORE/objects/DIGEST/       a model directory, never changed after it is in place
    STORE/store.lock            held by whoever changes anything

Everything is written beside its place and then renamed, files before the record that names them. So a process that is
killed leaves at most files that no record names, and the next one that collects garbage removes them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from breedclf.errors import ArtifactError, ConfigError
from breedclf.files.disk import sync_folder, write_atomic, writing
from breedclf.model_store.records import SCHEMA_VERSION, ModelRecord, check_model_name
from breedclf.text.plain_json import plain_json

LOCK_SECONDS = 60.0
_PART = ".part"


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
        with writing(self.path, "choose a folder that can be written as the store"):
            self.records.mkdir(parents=True, exist_ok=True)
            self.objects.mkdir(exist_ok=True)
            lock = FileLock(self.path / "store.lock", timeout=LOCK_SECONDS)
            try:
                lock.acquire()
            except Timeout as error:
                raise ConfigError(
                    f"store {self.path} is being changed by another process for over {LOCK_SECONDS:g} s: wait for it"
                ) from error
        try:
            yield
        finally:
            lock.release()

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
            return ModelRecord.model_validate(document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ArtifactError(
                f"{file} can't be read: {error}; restore it from a copy: the models themselves are in {self.objects}"
            ) from error

    def save(self, record: ModelRecord) -> None:
        """Write a record atomically; the files of its versions must be in place.

        Raises:
            DiskError: it can't be written; the old one stays.
        """
        file = self.records / f"{record.name}.json"
        with writing(file, "make room, then repeat the command; nothing was changed"):
            write_atomic(file, plain_json(record.model_dump(mode="json"), indent=2) + "\n", sync=True)

    def put(self, source: Path, files: list[str], digest: str) -> None:
        """Copy the files of a model into the store, if they aren't there yet.

        Raises:
            DiskError: they can't be read or written; nothing is left behind.
            ArtifactError: the source changed meanwhile.
        """
        target = self.object(digest)
        if target.is_dir():
            return
        part = target.with_name(digest + _PART)
        with writing(self.objects, "make room, then repeat the command; nothing was changed"):
            shutil.rmtree(part, ignore_errors=True)
            try:
                part.mkdir()
                for name in files:
                    shutil.copyfile(source / name, part / name)
                if digest_of(part, files) != digest:
                    raise ArtifactError(f"{source} changed while it was added: add it again")
                sync_folder(part)
                part.rename(target)
                sync_folder(self.objects)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def remove_unused(self) -> list[str]:
        """Remove the files that no record names, and what was left half-written; the names of what was removed."""
        used = {version.digest for name in self.names() for version in self.load(name).versions}
        unused = [each for each in self.objects.iterdir() if each.name not in used] if self.objects.is_dir() else []
        for each in unused:
            hidden = each.with_name(each.name.removesuffix(_PART) + _PART)
            if hidden != each:
                each.rename(hidden)  # an object is there whole or not at all
            shutil.rmtree(hidden, ignore_errors=True)
        return sorted(each.name for each in unused)


def digest_of(folder: Path, files: list[str]) -> str:
    """The SHA-256 of files: of their names, and the SHA-256 of their contents, in order of the names."""
    total = hashlib.sha256()
    for name in sorted(files):
        with (folder / name).open("rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
