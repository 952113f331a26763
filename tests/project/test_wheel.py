"""The wheel is complete: installed in an empty environment, it runs the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend that pyproject.toml names, without isolation, so no package index is needed."""
    folder = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; other packages come from the one that runs the tests, breedclf doesn't."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    # A path in a .pth file is searched after site-packages, and .pth files of that folder, such as the one of the
    # editable install, aren't read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "--disable-pip-version-check"]
    installed = subprocess.run(
        [*pip, "install", "--no-index", "--no-deps", "--ignore-installed", str(wheel)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert installed.returncode == 0, installed.stderr
    return folder


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("breedclf/")}
    package = ROOT / "src/breedclf"
    files = {
        f"breedclf/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    python = environment / "bin/python"
    where = [str(python), "-c", "import breedclf; print(breedclf.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    assert Path(found).is_relative_to(environment)

    done = subprocess.run(
        [environment / "bin/breedclf", "demo", "--json", "--output", str(tmp_path / "demo")],
        cwd=tmp_path,
        env={**os.environ, "BREEDCLF_CACHE_DIR": str(tmp_path / "cache"), "TORCH_HOME": str(tmp_path / "torch")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    demo = json.loads(done.stdout)
    assert demo["accuracy"] >= demo["required_accuracy"]
    assert Path(demo["artifact"]).is_relative_to(tmp_path)
