"""`S3Dataset`: a folder of pictures in S3, looked at by the doctor, uploaded as far as it changed, verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from breedclf.backends.sagemaker.s3.manifest import MANIFEST_NAME, Manifest
from breedclf.backends.sagemaker.s3.storage import S3Location
from breedclf.backends.sagemaker.s3.transfer import THREADS, Progress, upload_folder
from breedclf.backends.sagemaker.training.inputs import check_images, set_aside_in
from breedclf.errors import DataError
from breedclf.files.paths import user_path

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.context import Place


@dataclass(frozen=True)
class S3Dataset:
    """Pictures in S3 for any number of trainings: `TrainingConfig(data=dataset.uri)`.

    `manifest` names every file with its size and MD5 and lies beside them; the counts say what the last upload did.

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
        folder: str | Path,
        s3_uri: str,
        *,
        backend: Place | None = None,
        check: bool = True,
        skip_bad: bool = False,
        delete: bool = False,
        threads: int = THREADS,
        progress: bool | Callable[[Progress], object] = False,
    ) -> Self:
        """Make what lies at `s3_uri` equal to a folder of pictures, sending only what changed (by size and MD5).

        Cut off, it is called again and sends the rest. At the end a listing is compared with the folder.

        Args:
            folder: holds train/ and further splits, or the class folders; hidden files and what a training sets aside
                stay behind.
            s3_uri: `s3://BUCKET/PREFIX`, in the region in which jobs will run.
            backend: whose account, region and key are used; `SageMakerBackend()` if not given.
            check: whether the doctor looks at the pictures first; what would end a training is then not uploaded.
            skip_bad: the training will skip unreadable pictures, so the doctor lets them pass.
            delete: delete what lies at `s3_uri` and not in the folder; without it, that is an error.
            threads: how many files are sent at a time.
            progress: True shows a bar on stderr; a function is called after each file instead.

        Raises:
            DataError: the folder can't be read, a training on it would end at once, or `s3_uri` holds something else.
            ConfigError: `s3_uri` is no address, or its bucket isn't there or lies in another region.
            BreedclfError: S3 can't be reached or refuses.
        """
        location = S3Location.parse(s3_uri).require_plain()
        folder = user_path(folder, "folder")
        if check:
            check_images(folder, skip_bad=skip_bad)
        unread = set_aside_in(folder)
        with _teller(progress) as tell:
            done = upload_folder(
                _place(backend).storage,
                folder,
                str(location),
                delete=delete,
                threads=threads,
                tell=tell,
                unread=unread,
            )
        return cls(str(location).rstrip("/"), done.manifest, done.sent_files, done.sent_bytes, done.deleted_files)

    @classmethod
    def attach(cls, s3_uri: str, *, backend: Place | None = None) -> Self:
        """What was uploaded before, by its manifest.

        Raises:
            DataError: no manifest lies there.
        """
        uri = str(S3Location.parse(s3_uri)).rstrip("/")
        text = _place(backend).storage.get(f"{uri}/{MANIFEST_NAME}")
        manifest = None if text is None else Manifest.from_json(text)
        if manifest is None:
            raise DataError(
                f"{uri} holds no {MANIFEST_NAME}; upload the pictures with S3Dataset.upload(FOLDER, {uri!r})"
            )
        return cls(uri, manifest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the files' names."""
        return {
            "uri": self.uri,
            "files": len(self.manifest.files),
            "bytes": self.manifest.size_bytes,
            "fingerprint": self.manifest.fingerprint,
            "sent_files": self.sent_files,
            "sent_bytes": self.sent_bytes,
            "deleted_files": self.deleted_files,
        }


def _place(backend: Place | None) -> Place:
    if backend is not None:
        return backend
    from breedclf.backends.sagemaker.backend import SageMakerBackend

    return SageMakerBackend()


@contextlib.contextmanager
def _teller(progress: bool | Callable[[Progress], object]) -> Iterator[Callable[[Progress], object]]:
    if callable(progress):
        yield progress
    elif not progress:
        yield bool
    else:
        from tqdm import tqdm

        with tqdm(desc="upload", unit="B", unit_scale=True, leave=False, disable=None) as bar:

            def show(now: Progress) -> None:
                bar.total = now.total_bytes
                bar.set_postfix_str(f"{now.files:,} of {now.total_files:,} files", refresh=False)
                bar.update(now.bytes - bar.n)

            yield show
