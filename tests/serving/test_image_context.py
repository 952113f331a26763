"""The container image's folder: linted by a real linter, pinned, complete enough to serve from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from breedclf.cli import main

HADOLINT = Path(sys.executable).parent / "hadolint"


@pytest.fixture
def context(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["deploy", str(model), "--image-context", str(tmp_path / "image"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [".dockerignore", "Dockerfile", "breedclf", "model", *sorted(told["files"][4:])]
    return tmp_path / "image"


def test_a_linter_finds_nothing(context: Path, tmp_path: Path) -> None:
    if not HADOLINT.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([HADOLINT, context / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert done.returncode == 0
    worse = tmp_path / "Dockerfile"
    worse.write_text("FROM python\nRUN cd /x && pip install torch\n")
    assert subprocess.run([HADOLINT, worse], capture_output=True, timeout=60).returncode != 0


def test_it_is_pinned_and_runs_as_nobody(context: Path) -> None:
    text = (context / "Dockerfile").read_text()
    assert "USER 10001" in text
    assert re.search(r'ENTRYPOINT \["python", "-m", "breedclf.serving"\]\nCMD \["serve"\]', text)
    pins = (context / "requirements.txt").read_text() + (context / "requirements-torch.txt").read_text()
    assert all(re.fullmatch(r"[a-z0-9]+==[\d.]+", line) for line in pins.splitlines()), pins
    assert {"torch", "starlette", "uvicorn"} <= {line.partition("==")[0] for line in pins.splitlines()}


def test_what_it_holds_is_enough_to_serve(context: Path) -> None:
    """The packages that the server imports are all pinned, and the copied package is the one that runs."""
    code = (
        "import sys; import breedclf.serving.__main__, breedclf; "
        "print(breedclf.__file__); print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(context), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    where, loaded = done.stdout.splitlines()
    assert where.startswith(str(context))
    pins = {line.partition("==")[0] for line in (context / "requirements.txt").read_text().splitlines()}
    project = {"optuna", "jinja2", "yaml", "tomli_w", "boto3", "starlette", "uvicorn", "psutil", "pydantic", "urllib3"}
    assert {name for name in project if f"'{name}'" in loaded} <= pins


def test_nothing_is_overwritten(context: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", str(model), "--image-context", str(context)]) == 2
    assert "is not empty; choose another folder" in capsys.readouterr().err
