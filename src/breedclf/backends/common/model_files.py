"""The files of a model directory, as backends copy and check them without torch."""

from __future__ import annotations

from pathlib import Path

from breedclf.errors import ArtifactError

MODEL_FILES = ("breedclf.json", "model.safetensors")


def require_model(folder: Path) -> None:
    """Refuse a folder that lacks a model's files; their content isn't checked.

    Raises:
        ArtifactError: a file is missing.
    """
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise ArtifactError(
            f"{folder} is not a breedclf model: it has no {missing[0]} (`breedclf train` writes OUTPUT/model)"
        )
