"""An emulator in a process of its own, and SageMaker SDK v2's session at it: collected where that SDK is installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The interpreter that has breedclf; the one that runs these tests has the SDK, and needn't have breedclf.
PYTHON = Path(os.environ.get("BREEDCLF_TEST_PYTHON", ROOT / ".venv" / "bin" / "python"))


def _has_version_2() -> bool:
    try:
        return importlib.metadata.version("sagemaker").startswith("2.")
    except importlib.metadata.PackageNotFoundError:
        return False


collect_ignore_glob = [] if _has_version_2() else ["test_*.py"]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead AWS's clients to a running emulator, set for this process too."""
    home, log = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("log") / "emulator.txt"
    command = [PYTHON, "-m", "breedclf", "sagemaker", "emulate", "--home", home, "--cores", "2", "--json"]
    with log.open("w") as errors, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            lines: list[str] = []
            assert process.stdout is not None
            while not lines or not lines[-1].startswith("}"):
                lines.append(process.stdout.readline())
                assert lines[-1], f"the emulator ended: {log.read_text()}"
            environment: dict[str, str] = json.loads("".join(lines))["environment"]
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setenv("AWS_CONFIG_FILE", os.devnull)
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
            yield environment
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()
