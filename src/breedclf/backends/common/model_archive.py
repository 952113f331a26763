"""`model.tar.gz` for SageMaker: the model, and the code that serves it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from breedclf.backends.common.archive import archive_folder
from breedclf.errors import ArtifactError
from breedclf.serving.model_code import write_code

__all__ = ["MODEL_FILES", "pack_model", "write_code"]

MODEL_FILES = ("breedclf.json", "model.safetensors")


def pack_model(model: Path, archive: Path, *, wheels: Path | None = None) -> Path:
    """Write a model directory with its serving code to `archive`, and return that path.

    `wheels` is a folder of wheel files with the code's requirements, for endpoints without network access.

    Raises:
        ArtifactError: the folder holds no model.
        ConfigError: a requirement has no wheel.
    """
    missing = [name for name in MODEL_FILES if not (model / name).is_file()]
    if missing:
        raise ArtifactError(
            f"{model} is not a breedclf model: it has no {missing[0]} (`breedclf train` writes OUTPUT/model)"
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        staged = Path(folder)
        for name in MODEL_FILES:
            shutil.copyfile(model / name, staged / name)
        write_code(staged, wheels=wheels)
        archive_folder(staged, archive)
    return archive
