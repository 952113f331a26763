"""The files of this package, for job bundles and a model's `code/`, and the requirements of a job."""

from __future__ import annotations

from pathlib import Path

# Without torch, torchvision and numpy: every training image has them, in builds that fit its GPU.
REQUIREMENTS = (
    "filelock>=3.13",
    "pillow>=10.3",
    "platformdirs>=4.2",
    "psutil>=5.9.4",
    "pydantic>=2.8",
    "safetensors>=0.4.3",
    "tqdm>=4.66",
)
OWN_CODE_FOLDER = "breedclf_own_code"
"""The folder of a job's bundle that has modules of the user's own."""
_SKIPPED_SUFFIXES = {".pyc", ".pyo"}


def package_files() -> dict[str, bytes]:
    """The contents of the package's files by path; paths start with `breedclf/`."""
    package = Path(__file__).resolve().parents[1]
    return {
        f"breedclf/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and path.suffix not in _SKIPPED_SUFFIXES and "__pycache__" not in path.parts
    }
