"""`S3Dataset`: an image folder in S3, checked, uploaded incrementally and verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from breedclf.backends.sagemaker.s3.manifest import MANIFEST_NAME, Manifest, ignore_nothing
from breedclf.backends.sagemaker.s3.transfer import THREADS, Progress, upload_folder
from breedclf.backends.sagemaker.training.inputs import check_images, set_aside_in
from breedclf.errors import DataError
from breedclf.files.paths import StrPath, user_path
from breedclf.files.s3_uri import S3Location
from breedclf.runtime.progress import progress_bar

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.backend import SageMakerBackend


@dataclass(frozen=True)
class S3Dataset:
    """Images in S3 for any number of training runs: `TrainingConfig(data=dataset.uri)`.

    `manifest` lists every file with its size and MD5 and is stored with them; the counts describe the last upload.

    Example:
        >>> dataset = S3Dataset.upload("dogImages", "s3://my-bucket/breedclf/dogs")  # doctest: +SKIP
        >>> Trainer(TrainingConfig(data=dataset.uri), backend=SageMakerBackend()).submit()  # doctest: +SKIP
    """

    uri: str
    manifest: Manifest
    sent_files: int = 0
    sent_bytes: int = 0
    deleted_files: int = 0

    @classmethod
    def upload(
        cls,
        folder: StrPath,
        s3_uri: str,
        *,
        labels: StrPath | None = None,
        backend: SageMakerBackend | None = None,
        check: bool = True,
        skip_bad: bool = False,
        delete: bool = False,
        threads: int = THREADS,
        progress: bool | Callable[[Progress], object] = False,
    ) -> Self:
        """Make `s3_uri` equal to an image folder or a table; only changed files (by size and MD5) are uploaded.

        Call it again after an interruption to upload the rest. At the end, the objects are verified.

        Args:
            folder: contains train/ and further splits, or the class folders; hidden files and files that training
                ignores aren't uploaded. Of a table, the listed images and a table with their paths are uploaded.
            labels: a table of the labels, if `folder` has no class folders.
            s3_uri: `s3://BUCKET/PREFIX`, in the region in which jobs will run.
            backend: the account, region and KMS key to use; defaults to `SageMakerBackend()`.
            check: run the dataset check first, and upload nothing if training would fail.
            skip_bad: training will skip unreadable images, so the check accepts them.
            delete: delete objects at `s3_uri` that aren't in the folder; otherwise they are an error.
            threads: number of parallel uploads.
            progress: True shows a progress bar on stderr; a function is called after each file.

        Raises:
            DataError: the folder can't be read, training on it would fail, or `s3_uri` contains other files.
            ConfigError: `s3_uri` is invalid, or its bucket doesn't exist or is in another region.
            BreedclfError: S3 can't be reached or refuses.
        """
        location = S3Location.parse(s3_uri).require_plain()
        source = user_path(folder, "folder")
        table = None if labels is None else user_path(labels, "labels")
        if check:
            check_images(source, table, skip_bad=skip_bad)
        with _reporter(progress) as report, _uploaded(source, table) as (sent, ignored):
            done = upload_folder(
                _backend(backend).storage,
                sent,
                str(location),
                delete=delete,
                threads=threads,
                report=report,
                ignored=ignored,
            )
        return cls(str(location).rstrip("/"), done.manifest, done.sent_files, done.sent_bytes, done.deleted_files)

    @classmethod
    def attach(cls, s3_uri: str, *, backend: SageMakerBackend | None = None) -> Self:
        """An existing dataset, from its manifest.

        Raises:
            DataError: there is no manifest at `s3_uri`.
        """
        uri = str(S3Location.parse(s3_uri)).rstrip("/")
        text = _backend(backend).storage.get(f"{uri}/{MANIFEST_NAME}")
        manifest = None if text is None else Manifest.from_json(text)
        if manifest is None:
            raise DataError(
                f"{uri} contains no {MANIFEST_NAME}; upload the images with S3Dataset.upload(FOLDER, {uri!r})"
            )
        return cls(uri, manifest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without file names."""
        return {
            "uri": self.uri,
            "files": len(self.manifest.files),
            "bytes": self.manifest.size_bytes,
            "fingerprint": self.manifest.fingerprint,
            "sent_files": self.sent_files,
            "sent_bytes": self.sent_bytes,
            "deleted_files": self.deleted_files,
        }


@contextlib.contextmanager
def _uploaded(folder: Path, labels: Path | None) -> Iterator[tuple[Path, Callable[[str], bool]]]:
    """The folder to upload, and which of its files aren't."""
    from breedclf.data.tables.places import place_of
    from breedclf.data.tables.staging import staged

    place = place_of(folder, labels)
    if place is None:
        yield folder, set_aside_in(folder)
    else:
        with staged(place) as images:
            yield images, ignore_nothing


def _backend(backend: SageMakerBackend | None) -> SageMakerBackend:
    if backend is not None:
        return backend
    from breedclf.backends.sagemaker.backend import SageMakerBackend

    return SageMakerBackend()


@contextlib.contextmanager
def _reporter(progress: bool | Callable[[Progress], object]) -> Iterator[Callable[[Progress], object]]:
    if callable(progress):
        yield progress
    elif not progress:
        yield bool
    else:
        with progress_bar("upload", unit="B", unit_scale=True) as bar:

            def show(now: Progress) -> None:
                bar.total = now.total_bytes
                bar.set_postfix_str(f"{now.files:,} of {now.total_files:,} files", refresh=False)
                bar.update(now.bytes - bar.n)

            yield show
