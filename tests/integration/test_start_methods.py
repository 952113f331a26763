"""Scripts as people write them, by each way of starting processes, on a machine that looks large enough for workers."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import write_patterns

PROGRAM = """
import multiprocessing, os
os.sched_getaffinity = lambda pid: set(range(8))
os.cpu_count = lambda: 8
multiprocessing.set_start_method("{method}", force=True)
from breedclf import Trainer, TrainingConfig

print("the script runs", flush=True)
config = TrainingConfig(
    data="{data}", output="{folder}/out", cache_dir="{folder}/cache", epochs=1, architecture="resnet18", weights="none",
    chunk_size=8, device="cpu"{settings}
)
"""
TRAIN = "Trainer(config).fit()\nprint('trained', flush=True)\n"
GUARDED = 'if __name__ == "__main__":\n    Trainer(config).fit()\n    print("trained", flush=True)\n'
IN_A_POOL = """
def train(config):
    return Trainer(config).fit().best_epoch

if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        print("trained, best epoch", pool.apply_async(train, [config]).get(60), flush=True)
"""

METHODS = [method for method in ("spawn", "forkserver") if method in multiprocessing.get_all_start_methods()]
forking = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system doesn't fork")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("data"), counts={"train": 4, "valid": 2})


def script(
    ending: str, method: str, data: Path, folder: Path, *, settings: str = "", by_stdin: bool = False
) -> subprocess.CompletedProcess[str]:
    text = PROGRAM.format(method=method, data=data, folder=folder, settings=settings) + ending
    file = folder / "script.py"
    file.write_text(text, encoding="utf-8")
    words = [sys.executable, "-"] if by_stdin else [sys.executable, str(file)]
    return subprocess.run(
        words, input=text if by_stdin else None, capture_output=True, text=True, timeout=120, check=False, cwd=folder
    )


@pytest.mark.parametrize(
    ("method", "by_stdin"),
    [*((method, False) for method in METHODS), pytest.param("spawn", True, marks=pytest.mark.slow)],
)
def test_a_script_without_guard_trains_and_runs_once(method: str, by_stdin: bool, data: Path, tmp_path: Path) -> None:
    done = script(TRAIN, method, data, tmp_path, by_stdin=by_stdin)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count("the script runs") == 1
    assert "trained" in done.stdout


@pytest.mark.parametrize("method", METHODS[:1])
def test_workers_asked_for_without_guard_are_refused_with_the_remedy(method: str, data: Path, tmp_path: Path) -> None:
    done = script(TRAIN, method, data, tmp_path, settings=", workers=1")
    assert done.returncode == 1
    assert "trained" not in done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("breedclf.errors.TrainingError: workers=1: a DataLoader worker has ended")
    assert f"processes start by {method} here" in last
    assert '`if __name__ == "__main__":`, or leave out workers' in last
    assert "a new process imports the main module, which starts training again" in done.stderr


@pytest.mark.parametrize("method", METHODS[:1])
def test_workers_asked_for_behind_a_guard_work(method: str, data: Path, tmp_path: Path) -> None:
    done = script(GUARDED, method, data, tmp_path, settings=", workers=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count("the script runs") > 1


@pytest.mark.parametrize("method", [pytest.param("fork", marks=forking)])
def test_a_training_in_a_pool_starts_no_processes_of_its_own(method: str, data: Path, tmp_path: Path) -> None:
    done = script(IN_A_POOL, method, data, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trained, best epoch 1" in done.stdout


@forking
def test_workers_asked_for_in_a_pool_are_refused_with_the_reason(data: Path, tmp_path: Path) -> None:
    done = script(IN_A_POOL, "fork", data, tmp_path, settings=", workers=2")
    assert done.returncode == 1
    assert "ConfigError: workers=2: this process is daemonic" in done.stderr
    assert "leave out workers" in done.stderr
