"""The benchmark of GPU machines runs on a CPU as far as it can, and a part that fails stops none of the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.child import MODULES
from benchmarks.gpu.notes import NEEDS_CUDA, Notes, Setup, failures
from benchmarks.gpu.plan import BATCHES, FULL, LIMITS, SMALL, batch_sizes, seconds_for, selected
from benchmarks.gpu.processes import run_part
from benchmarks.gpu.timing import WaitTimer, float32, halved_until_it_fits

ROOT = Path(__file__).resolve().parents[2]


def program(folder: Path, code: str) -> list[str]:
    """A part that writes a result and then runs some code."""
    first = f"from pathlib import Path; Path({str(folder / 'facts.json')!r}).write_text('{{\"known\": 1}}'); "
    return [sys.executable, "-c", first + code]


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        pytest.param("", "ok", None, id="ok"),
        pytest.param("raise SystemExit('no such device')", "failed", "exit code 1: no such device", id="failed"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "failed", "exit code -9: ", id="killed"),
        pytest.param("import time; time.sleep(600)", "over its time", "stopped after 2 s", id="too long"),
    ],
)
def test_what_a_part_found_stays_however_it_ends(tmp_path: Path, code: str, status: str, reason: str | None) -> None:
    seconds = 2.0 if "sleep" in code else 60.0
    result = run_part("facts", Setup(tmp_path, "cpu", SMALL), seconds=seconds, command=program(tmp_path, code))
    if status != "over its time":
        assert result["found"] == {"known": 1}
    assert (result["status"], result.get("reason")) == (status, reason)


def test_the_limits_of_parts_end_with_the_time_of_the_whole() -> None:
    assert seconds_for("facts", 1_000.0) == LIMITS["facts"]
    assert seconds_for("facts", 1_000.0, patience=2.0) == 2 * LIMITS["facts"]
    assert seconds_for("facts", 12.0) == 12.0
    assert seconds_for("facts", -3.0) is None
    assert gpu.part("facts", Setup(Path(), "cpu", SMALL), 0.0)["status"] == "not started"


def test_parts_run_in_order_with_those_that_they_build_on() -> None:
    assert selected(None) == list(LIMITS)
    assert selected(["warm", "features"]) == ["facts", "images", "features", "warm"]
    assert set(MODULES) == set(LIMITS)


def test_batches_grow_with_the_memory_of_the_device() -> None:
    assert batch_sizes(0) == [BATCHES[0]]
    assert batch_sizes(139 << 30) == [32, 128, 512]
    assert batch_sizes(1 << 40) == list(BATCHES)


def test_a_batch_is_halved_until_it_fits() -> None:
    tried = []

    def work(batch: int) -> str:
        tried.append(batch)
        if batch > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert halved_until_it_fits(work, 12) == (3, "done")
    assert tried == [12, 6, 3]


def test_a_batch_of_one_that_does_not_fit_is_an_error() -> None:
    def work(batch: int) -> None:
        raise torch.OutOfMemoryError(f"not even {batch}")

    with pytest.raises(torch.OutOfMemoryError, match="not even 1"):
        halved_until_it_fits(work, 4)


def test_a_measurement_that_fails_is_noted_and_the_next_one_runs(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "found.json", on_gpu=False)
    notes.measure("broken", lambda: 1 / 0)
    notes.measure("exits", lambda: sys.exit("a command failed"))
    notes.measure("on a GPU", lambda: 2, needs_cuda=True)
    notes.measure("works", lambda: 3)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["broken"]["failed"].startswith("ZeroDivisionError: division by zero (")
    assert "a command failed" in found["exits"]["failed"]
    assert (found["on a GPU"], found["works"]) == (NEEDS_CUDA, 3)
    assert failures(found) == ["broken", "exits"]


def test_settings_reach_the_process_of_a_part() -> None:
    setup = Setup(Path("a folder"), "cuda", FULL)
    assert Setup.from_json(setup.to_json()) == setup


def test_the_precision_of_float32_is_restored() -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    with float32("tf32"):
        assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
    assert [place.fp32_precision for place in places] == before


def test_waiting_for_images_is_added_up_by_phase() -> None:
    timer = WaitTimer()
    timer.phase("train", 1)
    for _ in range(2):
        timer.lap("data_wait")
        timer.lap("forward")
        timer.step(4)
    phase = timer.phases["train", 1]
    assert phase.images == 8
    assert 0 < phase.waited < phase.seconds


def test_results_go_elsewhere_if_their_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "a file").write_text("", encoding="utf-8")
    path = gpu.saved({"benchmark": "gpu"}, tmp_path / "a file" / "gpu.json", wanted=True)
    assert path is not None
    assert json.loads(path.read_text(encoding="utf-8")) == {"benchmark": "gpu"}
    assert "can't be written" in capsys.readouterr().err
    assert gpu.saved({}, None, wanted=False) is None


@pytest.mark.slow
def test_a_dry_run_measures_all_that_a_cpu_can(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "gpu", "--json", "--dry-run", "--output", str(tmp_path / "gpu.json")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=550
    )
    (document,) = json.loads(done.stdout)
    written = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert written.items() <= document.items()  # the runner adds the seconds
    assert gpu.failed(document["details"]) == [], done.stderr
    assert list(document["details"]) == list(LIMITS)
    assert document["details"]["collectives"]["found"]["backend"] == "gloo"
    assert document["details"]["warm"]["found"]["12 trials, warm"]["trials"] == 12
    assert document["details"]["features"]["found"]["500x400, chunks of 2, nvJPEG"] == NEEDS_CUDA
