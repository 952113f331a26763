"""The code beside a model, with which SageMaker's containers serve it: `code/`, and the entry for Ray Serve."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from breedclf.errors import ConfigError
from breedclf.files.package import REQUIREMENTS, package_files

HANDLERS_FILE = "inference.py"
RAY_MODULE = "breedclf_ray"
RAY_CONFIG = "config.yaml"
WHEELS = "wheels"
_HANDLERS = '''"""SageMaker's handler functions; everything is in the package beside this file."""

from breedclf.serving.inference import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
'''
# Ray ships the class by value to processes that don't have this module, nor the package: it looks for that itself.
_RAY = '''"""Ray Serve's entry, named by config.yaml; everything else is in the package in code/."""

import sys
from pathlib import Path

from ray import serve

MODEL = Path(__file__).resolve().parent
sys.path.insert(0, str(MODEL / "code"))

from breedclf.serving.ray_replica import deployment_options  # noqa: E402


@serve.deployment(**deployment_options())
class Breeds:
    """One process that serves the model."""

    def __init__(self, model):
        sys.path.insert(0, model + "/code")
        from breedclf.serving.ray_replica import Replica

        self.replica = Replica(model)

    async def __call__(self, request):
        return await self.replica(request)

    async def check_health(self):
        await self.replica.check_health()


app = Breeds.bind(str(MODEL))
'''
_CONFIG = f"""# What Ray Serve runs; the model and its code lie beside this file.
applications:
  - name: breedclf
    route_prefix: /
    import_path: {RAY_MODULE}:app
"""


def write_code(model: Path, *, wheels: Path | None = None) -> None:
    """Put the handlers, this package, its requirements and Ray Serve's entry into a model folder.

    Equal code gives equal bytes. With `wheels`, a folder of wheel files, these come along and are installed without a
    package index, as an endpoint needs it that may not reach any network.

    Raises:
        ConfigError: a requirement has no wheel.
    """
    code = model / "code"
    shutil.rmtree(code, ignore_errors=True)
    for name, content in package_files().items():
        path = code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (code / HANDLERS_FILE).write_text(_HANDLERS, encoding="utf-8")
    options = _copy_wheels(wheels, code / WHEELS) if wheels is not None else ()
    (code / "requirements.txt").write_text("".join(f"{line}\n" for line in (*options, *REQUIREMENTS)), encoding="utf-8")
    (model / f"{RAY_MODULE}.py").write_text(_RAY, encoding="utf-8")
    (model / RAY_CONFIG).write_text(_CONFIG, encoding="utf-8")


def _copy_wheels(source: Path, target: Path) -> tuple[str, ...]:
    files = sorted(source.glob("*.whl"))
    have = {_plain(path.name.partition("-")[0]) for path in files}
    missing = [line for line in REQUIREMENTS if _plain(re.split("[<>=]", line)[0]) not in have]
    if missing:
        raise ConfigError(
            f"{source} has no wheel for {', '.join(missing)}; `pip download --only-binary=:all: -d {source} "
            f"{' '.join(repr(line) for line in missing)}` fetches them with what they need"
        )
    target.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, target / path.name)
    return ("--no-index", f"--find-links {WHEELS}")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
