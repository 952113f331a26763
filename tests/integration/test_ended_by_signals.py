"""A signal at any moment of a command's start: one exit code, one line, no traceback, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import write_patterns

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")

NETWORK = ["--architecture", "resnet18", "--weights", "none", "--device", "cpu", "--workers", "0"]
VERBS = {
    "train": ["train", "{data}", *NETWORK, "--epochs", "3000", "--no-feature-cache"],
    "tune": ["tune", "{data}", *NETWORK, "--epochs", "3000", "--learning-rate", "0.001:0.01"],
}
LONGEST_SECONDS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("data"), counts={"train": 4, "valid": 2})


@contextmanager
def begun(words: list[str], folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "BREEDCLF_CACHE_DIR": str(folder / "cache"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_caught(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Until the process has a handler of its own for the signal."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
        if caught >> (number - 1) & 1:
            return
        time.sleep(0.005)
    pytest.fail(f"no handler for {number.name} after {LONGEST_SECONDS} s")


def has_torch(process: subprocess.Popen[str]) -> bool:
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("verb", "seconds"), [("train", 0.0), ("train", 0.3), ("train", 1.5), ("tune", 2.0)])
def test_a_command_ends_cleanly_whenever_it_is_asked_to(
    verb: str, seconds: float, number: signal.Signals, data: Path, tmp_path: Path
) -> None:
    with begun(["breedclf", *(word.format(data=data) for word in VERBS[verb])], tmp_path) as process:
        wait_until_caught(process, signal.SIGTERM)
        assert not has_torch(process)
        time.sleep(seconds)
        process.send_signal(number)
        out, err = process.communicate(timeout=LONGEST_SECONDS)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert "interrupted" in err
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_a_job_ends_cleanly_before_its_training_begins(seconds: float, data: Path, tmp_path: Path) -> None:
    job = {
        "SM_CHANNEL_TRAINING": str(data),
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "SM_OUTPUT_DATA_DIR": str(tmp_path / "output"),
        "SM_HPS": '{"architecture": "resnet18", "weights": "none", "epochs": "3000", "workers": "0"}',
    }
    with begun(["breedclf.run"], tmp_path, **job) as process:
        wait_until_caught(process, signal.SIGTERM)
        assert not has_torch(process)
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONGEST_SECONDS)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert not (tmp_path / "model").exists() or not list((tmp_path / "model").iterdir())


IMPORTING = """
import signal
from breedclf.runtime.process_signals import ending_at_once, interrupt_by_signals
{command}
try:
    with ending_at_once():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted by an exception")
"""


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [("interrupt_by_signals()", 130, "", "breedclf: interrupted\n"), ("", 0, "interrupted by an exception\n", "")],
    ids=["in a command", "in a user's program"],
)
def test_only_a_command_ends_at_once_while_it_imports(command: str, code: int, out: str, err: str) -> None:
    program = [sys.executable, "-c", IMPORTING.format(command=command)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)
