"""`model.tar.gz` for SageMaker: the model, and the code that serves it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from breedclf.backends.common.archive import archive_folder
from breedclf.backends.common.model_files import copy_model_files, require_model
from breedclf.serving.model_code import write_code


def pack_model(model: Path, archive: Path, *, wheels: Path | None = None) -> Path:
    """Write a model directory with its serving code to `archive`, and return that path.

    `wheels` is a folder of wheel files with the code's requirements, for endpoints without network access.

    Raises:
        ArtifactError: the folder holds no model.
        ConfigError: a requirement has no wheel.
    """
    require_model(model)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        staged = Path(folder)
        copy_model_files(model, staged)
        write_code(staged, wheels=wheels)
        archive_folder(staged, archive)
    return archive
