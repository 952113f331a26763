"""`model.tar.gz` as SageMaker takes it: the model, and the code that serves it, vendored beside it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from breedclf.backends.archive import archive_folder
from breedclf.backends.bundle import REQUIREMENTS, breedclf_bundle
from breedclf.errors import ArtifactError

MODEL_FILES = ("breedclf.json", "model.safetensors")
_HANDLERS = '''"""SageMaker's handler functions; everything is in the package beside this file."""

from breedclf.serving.inference import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
'''


def write_code(model: Path) -> None:
    """Put `code/inference.py`, this package and its requirements into a model folder; equal code gives equal bytes."""
    code = model / "code"
    shutil.rmtree(code, ignore_errors=True)
    for name, content in breedclf_bundle().files.items():
        if name.startswith("breedclf/"):
            path = code / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    (code / "inference.py").write_text(_HANDLERS, encoding="utf-8")
    (code / "requirements.txt").write_text("".join(f"{line}\n" for line in REQUIREMENTS), encoding="utf-8")


def pack_model(model: Path, archive: Path) -> Path:
    """Write a model folder with its code as `archive`, and return that.

    Raises:
        ArtifactError: the folder holds no model.
    """
    missing = [name for name in MODEL_FILES if not (model / name).is_file()]
    if missing:
        raise ArtifactError(f"{model} is not a breedclf model: it has no {missing[0]} (a training writes OUTPUT/model)")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        staged = Path(folder)
        for name in MODEL_FILES:
            shutil.copyfile(model / name, staged / name)
        write_code(staged)
        archive_folder(staged, archive)
    return archive
