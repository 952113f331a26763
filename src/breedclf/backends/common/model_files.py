"""The files of a model directory, as backends copy and check them without torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from breedclf.errors import ArtifactError
from breedclf.files.model_folder import BANK_FILE, CARD_FILE, WEIGHTS_FILE, has_bank

MODEL_FILES = (CARD_FILE, WEIGHTS_FILE, BANK_FILE)
"""The names of all files that a model directory may have; only some models have the last one."""


def require_model(folder: Path) -> None:
    """Refuse a folder that lacks a model's files; their content isn't checked.

    Raises:
        ArtifactError: a file is missing.
    """
    for name in (CARD_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise ArtifactError(
                f"{folder} is not a breedclf model: it has no {name} (`breedclf train` writes OUTPUT/model)"
            )
    if has_bank(folder) and not (folder / BANK_FILE).is_file():
        raise ArtifactError(
            f"{folder} has no {BANK_FILE}, which {CARD_FILE} names: copy it from where the model is complete, or train "
            "again"
        )


def copy_model_files(folder: Path, target: Path) -> None:
    """Copy the files that `require_model` asks for into an existing folder.

    Raises:
        OSError: one can't be copied.
    """
    for name in (CARD_FILE, WEIGHTS_FILE, *([BANK_FILE] if has_bank(folder) else [])):
        shutil.copyfile(folder / name, target / name)
