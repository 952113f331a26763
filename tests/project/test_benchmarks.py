"""Benchmarks are registered, take common flags, and run in processes that end; the one of growing datasets works."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest
from benchmarks import __main__ as runner
from benchmarks.few_images import CLASSES, IMAGES, link_few_images
from benchmarks.running import run
from benchmarks.scale import simulation

ROOT = Path(__file__).resolve().parents[2]
NOT_MEASURING = {"benchmarks", "sampling"}  # they run others


def started_by_name() -> set[str]:
    """The modules and packages of benchmarks that can be run."""
    files = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "benchmarks").glob("*/__main__.py")]
    runnable = [path for path in files if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")]
    return {path.parent.name if path.name == "__main__.py" else path.stem for path in runnable} - NOT_MEASURING


def test_every_benchmark_is_registered() -> None:
    assert started_by_name() == set(runner.NAMES)


@pytest.mark.parametrize("name", runner.NAMES)
def test_every_benchmark_explains_its_common_flags(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    is_package = (ROOT / "benchmarks" / name).is_dir()
    module = importlib.import_module(f"benchmarks.{name}" + ".__main__" * is_package)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    words = capsys.readouterr().out.split()
    assert {"--json", "--quick", "--save"} <= {word.strip("[],") for word in words}


def test_few_images_are_links_to_the_first_of_each_class(tmp_path: Path) -> None:
    for split in IMAGES:
        for label in range(CLASSES + 1):
            (tmp_path / "all" / "birds" / split / f"{label}").mkdir(parents=True)
            for number in range(10):
                (tmp_path / "all" / "birds" / split / f"{label}" / f"{number}.jpg").write_text(f"{label} {number}")
    few = link_few_images(tmp_path / "all", tmp_path / "few") / "birds"
    assert {path.name for path in (few / "train").iterdir()} == set(map(str, range(CLASSES)))
    for split, count in IMAGES.items():
        assert [path.read_text() for path in sorted((few / split / "1").iterdir())] == [f"1 {n}" for n in range(count)]


def fake_benchmark(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> dict[str, str]:
    """The environment in which `benchmarks.fake` is this code."""
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "fake.py").write_text(code)
    monkeypatch.setattr("benchmarks.running.ROOT", folder)
    return {"PYTHONPATH": str(folder)}


def test_a_hanging_benchmark_is_killed_with_what_it_started_and_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        open("child", "w").write(str(child.pid))
        time.sleep(600)
    """
    environment = fake_benchmark(monkeypatch, tmp_path, textwrap.dedent(code))
    found = run("fake", [], limit_seconds=2.5, environment=environment)
    assert found is not None
    assert found["failed"] == "stopped after 2.5 s"
    assert [goal["reached"] for goal in found["goals"]] == [False]
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_benchmark_without_a_document_is_skipped_or_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('skipped: no photos'); sys.exit(int(sys.argv[2]))"
    environment = fake_benchmark(monkeypatch, tmp_path, code)
    assert run("fake", ["0"], limit_seconds=60, environment=environment) is None
    found = run("fake", ["3"], limit_seconds=60, environment=environment)
    assert found is not None
    assert found["failed"] == "exit code 3"


def test_ctrl_c_prints_what_is_finished(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(name: str, *_: object, **__: object) -> dict[str, Any]:
        if name == "decode":
            raise KeyboardInterrupt
        return {"benchmark": name, "goals": [], "seconds": 2.0, "cpu_seconds": 1.0}

    monkeypatch.setattr(runner, "run", interrupted)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "startup", "decode", "forward", "--json"])
    assert runner.main() == 130
    first, summary = json.loads(capsys.readouterr().out)
    assert first["benchmark"] == "startup"
    assert summary["interrupted"]
    assert summary["seconds by benchmark"] == {"startup": 2.0}
    assert summary["skipped or not run"] == ["decode", "forward"]


def scale(folder: Path, *words: str) -> tuple[dict[str, Any], dict[str, bool]]:
    """The details of a quick run, and which goals were reached."""
    command = [sys.executable, "-m", "benchmarks", "scale", "--json", "--quick", "--weights", "none", *words]
    environment = os.environ | {"TMPDIR": str(folder), "BREEDCLF_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    (document,) = json.loads(done.stdout)
    assert list(folder.glob("breedclf-scale-*")) == [], "it deletes what it wrote"
    return document["details"], {goal["what"]: goal["reached"] for goal in document["goals"]}


def test_the_simulation_finds_the_images_that_it_added_and_no_others(tmp_path: Path) -> None:
    filled, used = simulation.fill(tmp_path, 3_000), simulation.use(tmp_path, 3_000)
    assert 20 < filled["index bytes per image"] < 400
    assert used["known images found per second"] > 0 and used["unknown images looked up per second"] > 0


@pytest.mark.slow
def test_one_more_image_is_the_only_one_computed_and_a_killed_run_loses_at_most_64(tmp_path: Path) -> None:
    details, goals = scale(tmp_path, "--only", "one-more", "kills", "simulation")
    assert goals["one more image among 120: images computed"]
    assert goals["one more image among 120: images computed, at least"]
    assert goals["images lost by kill -9, most of 2 times"]
    assert goals["heads that differ from an undisturbed run's, of 2"]
    assert len(details["kills"]["lost"]) == 2
    assert details["simulation"]["list"]["bytes per listed image"] > 100
