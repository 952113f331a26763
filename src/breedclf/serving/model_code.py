"""The code stored with a model for SageMaker's containers: `code/`, and the entry point for Ray Serve."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from breedclf.errors import ConfigError
from breedclf.files.model_folder import architecture_of
from breedclf.files.package import REQUIREMENTS, package_files
from breedclf.runtime.extras import network_requirements

HANDLERS_FILE = "inference.py"
RAY_MODULE = "breedclf_ray"
RAY_CONFIG = "config.yaml"
WHEELS = "wheels"
_HANDLERS = '''"""SageMaker's handler functions; the implementation is in the package next to this file."""

from breedclf.serving.inference import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
'''
# Ray pickles the class by value, for processes without this module and the package, so the class adjusts sys.path.
_RAY = '''"""Entry point for Ray Serve, referenced by config.yaml; the implementation is in the package in code/."""

import sys
from pathlib import Path

from ray import serve

MODEL = Path(__file__).resolve().parent
sys.path.insert(0, str(MODEL / "code"))

from breedclf.serving.ray_replica import deployment_options  # noqa: E402


@serve.deployment(**deployment_options())
class ImageClassifier:
    """A process that serves the model."""

    def __init__(self, model):
        sys.path.insert(0, model + "/code")
        from breedclf.serving.ray_replica import Replica

        self.replica = Replica(model)

    async def __call__(self, request):
        return await self.replica(request)

    async def check_health(self):
        await self.replica.check_health()


app = ImageClassifier.bind(str(MODEL))
'''
_CONFIG = f"""# Configuration of Ray Serve; the model and its code are next to this file.
applications:
  - name: breedclf
    route_prefix: /
    import_path: {RAY_MODULE}:app
"""


def write_code(model: Path, *, wheels: Path | None = None) -> None:
    """Write handlers, this package, its requirements and Ray Serve's entry point into a model directory.

    The output is deterministic. With `wheels`, a folder of wheel files, these are included and installed without a
    package index, for endpoints without network access.

    Raises:
        ConfigError: a requirement has no wheel.
        MissingExtraError: the network is timm's, and timm isn't installed here, so its version can't be given.
    """
    code = model / "code"
    shutil.rmtree(code, ignore_errors=True)
    for name, content in package_files().items():
        path = code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (code / HANDLERS_FILE).write_text(_HANDLERS, encoding="utf-8")
    needed = (*REQUIREMENTS, *network_requirements(architecture_of(model)))
    options = _copy_wheels(wheels, code / WHEELS, needed) if wheels is not None else ()
    (code / "requirements.txt").write_text("".join(f"{line}\n" for line in (*options, *needed)), encoding="utf-8")
    (model / f"{RAY_MODULE}.py").write_text(_RAY, encoding="utf-8")
    (model / RAY_CONFIG).write_text(_CONFIG, encoding="utf-8")


def _copy_wheels(source: Path, target: Path, needed: Sequence[str]) -> tuple[str, ...]:
    files = sorted(source.glob("*.whl"))
    available = {_plain(path.name.partition("-")[0]) for path in files}
    missing = [line for line in needed if _plain(re.split("[<>=]", line)[0]) not in available]
    if missing:
        raise ConfigError(
            f"{source} has no wheel for {', '.join(missing)}; `pip download --only-binary=:all: -d {source} "
            f"{' '.join(repr(line) for line in missing)}` downloads them with their dependencies"
        )
    target.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, target / path.name)
    return ("--no-index", f"--find-links {WHEELS}")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
