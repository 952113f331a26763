"""A model on its way to an endpoint: packed, and uploaded once under its content's name, beside its right answers."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from breedclf.backends.common.model_archive import pack_model
from breedclf.backends.sagemaker.endpoints.expected_answers import right_answers
from breedclf.backends.sagemaker.s3.storage import Storage

_ARCHIVE = "model.tar.gz"
_ANSWERS = "right-answers.json"


@dataclass(frozen=True)
class ServedModel:
    """A packed model; `folder_uri` is where it lies in S3, or will."""

    artifact: Path
    archive: Path
    folder_uri: str

    @classmethod
    @contextmanager
    def packed(cls, artifact: Path, below_uri: str) -> Iterator[Self]:
        """Pack a model folder with its code into an archive that is there as long as this is entered.

        Raises:
            ArtifactError: the folder holds no model.
        """
        with tempfile.TemporaryDirectory(prefix="breedclf-model-") as folder:
            archive = pack_model(artifact, Path(folder) / _ARCHIVE)
            with archive.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield cls(artifact, archive, f"{below_uri}/{digest[:32]}")

    @property
    def uri(self) -> str:
        """The archive's address in S3."""
        return f"{self.folder_uri}/{_ARCHIVE}"

    def upload(self, storage: Storage) -> None:
        """Put the archive and the right answers into S3, unless they are there as they should be.

        Raises:
            ArtifactError: the model is damaged.
            BreedclfError: S3 refuses.
        """
        storage.keep(self.uri, self.archive)
        if not storage.holds(answers_uri(self.uri)):
            storage.put(answers_uri(self.uri), right_answers(self.artifact))


def answers_uri(model_uri: str) -> str:
    """Where the right answers of an archive in S3 lie.

    Example:
        >>> answers_uri("s3://mine/breedclf/models/0123/model.tar.gz")
        's3://mine/breedclf/models/0123/right-answers.json'
    """
    return f"{model_uri.rpartition('/')[0]}/{_ANSWERS}"
