"""Packs a model for an endpoint and uploads it once, under a digest of its content, with its expected answers."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from breedclf.backends.common.model_archive import pack_model
from breedclf.backends.sagemaker.endpoints.expected_answers import expected_answers
from breedclf.backends.sagemaker.s3.storage import Storage

_ARCHIVE = "model.tar.gz"
_ANSWERS = "right-answers.json"


@dataclass(frozen=True)
class ServedModel:
    """A packed model; `folder_uri` is its folder in S3."""

    artifact: Path
    archive: Path
    folder_uri: str

    @classmethod
    @contextmanager
    def packed(cls, artifact: Path, below_uri: str) -> Iterator[Self]:
        """Pack a model directory with its code into a temporary archive.

        Raises:
            ArtifactError: the folder contains no model.
        """
        with tempfile.TemporaryDirectory(prefix="breedclf-model-") as folder:
            archive = pack_model(artifact, Path(folder) / _ARCHIVE)
            with archive.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield cls(artifact, archive, f"{below_uri}/{digest[:32]}")

    @property
    def uri(self) -> str:
        """The archive's S3 URI."""
        return f"{self.folder_uri}/{_ARCHIVE}"

    def upload(self, storage: Storage) -> None:
        """Upload the archive and the expected answers, unless S3 already has them.

        Raises:
            ArtifactError: the model is damaged.
            BreedclfError: S3 refuses.
        """
        storage.ensure(self.uri, self.archive)
        if not storage.contains(answers_uri(self.uri)):
            storage.put(answers_uri(self.uri), expected_answers(self.artifact))


def answers_uri(model_uri: str) -> str:
    """The S3 URI of an archive's expected answers.

    Example:
        >>> answers_uri("s3://mine/breedclf/models/0123/model.tar.gz")
        's3://mine/breedclf/models/0123/right-answers.json'
    """
    return f"{model_uri.rpartition('/')[0]}/{_ANSWERS}"
