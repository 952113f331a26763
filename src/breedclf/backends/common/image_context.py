"""The build context of a model's container image: a Dockerfile, the model, and this package."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from breedclf.backends.common.model_files import copy_model_files, require_model
from breedclf.config.architectures import TIMM
from breedclf.errors import ConfigError
from breedclf.files.model_folder import architecture_of
from breedclf.files.package import package_files
from breedclf.files.paths import user_path

BASE_IMAGE = "python:3.12-slim-bookworm"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
_TORCH = ("torch", "torchvision")
_NEEDED = (
    "filelock",
    "jinja2",
    "numpy",
    "pillow",
    "platformdirs",
    "psutil",
    "pydantic",
    "safetensors",
    "starlette",
    "tqdm",
    "urllib3",
    "uvicorn",
)
_DOCKERFILE = """\
# Serves the model in this folder. Build: `docker build -t classifier .`; run: `docker run -p 8080:8080 classifier`.
# SageMaker appends the argument "serve" and mounts its model at /opt/ml/model, which replaces this one.
FROM {base}

ENV PYTHONUNBUFFERED=1 \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONPATH=/opt/breedclf \\
    BREEDCLF_HOST=0.0.0.0

COPY requirements.txt requirements-torch.txt /opt/breedclf/
RUN pip install --no-cache-dir -i {wheels} -r /opt/breedclf/requirements-torch.txt \\
    && pip install --no-cache-dir -r /opt/breedclf/requirements.txt \\
    && useradd --no-log-init --create-home --uid 10001 breedclf

COPY breedclf /opt/breedclf/breedclf
COPY model /opt/ml/model

USER 10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=120s \\
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/ping', timeout=2)"]

# Set BREEDCLF_TOKEN, or BREEDCLF_NO_TOKEN=1 behind a proxy that authenticates requests, as SageMaker does.
ENTRYPOINT ["python", "-m", "breedclf.serving"]
CMD ["serve"]
"""


def write_image_context(model: Path, folder: Path, *, installed: Callable[[str], str] = version) -> list[str]:
    """Write Dockerfile, pinned requirements, the package and the model into an empty folder; return the files' names.

    The pinned versions are those installed here, so that the image gives the same answers as this environment.

    Raises:
        ArtifactError: `model` holds no model.
        ConfigError: the folder isn't empty, or a library isn't installed.
    """
    model, folder = user_path(model, "model"), user_path(folder, "folder")
    require_model(model)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; choose another folder for the image")
    (folder / "model").mkdir(parents=True, exist_ok=True)
    copy_model_files(model, folder / "model")
    for name, content in package_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "Dockerfile").write_text(_DOCKERFILE.format(base=BASE_IMAGE, wheels=CPU_WHEELS), encoding="utf-8")
    network = ("timm",) if architecture_of(model).startswith(TIMM) else ()
    (folder / "requirements.txt").write_text(_pins((*_NEEDED, *network), installed), encoding="utf-8")
    (folder / "requirements-torch.txt").write_text(_pins(_TORCH, installed), encoding="utf-8")
    (folder / ".dockerignore").write_text("**/__pycache__\n", encoding="utf-8")
    return sorted(path.relative_to(folder).as_posix() for path in folder.iterdir())


def _pins(names: tuple[str, ...], installed: Callable[[str], str]) -> str:
    try:
        return "".join(f"{name}=={installed(name).partition('+')[0]}\n" for name in names)
    except PackageNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed here, so its version can't be pinned") from error
