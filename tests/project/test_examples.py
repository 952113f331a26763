"""Every numbered example runs as it stands, on pictures drawn for the purpose."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import photos_folder

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


# The whole journey runs on photographs where there are some.
PHOTOS = {"09_sagemaker.py": ("--data", "dog-breeds-tiny", "--weights", "weights/resnet50-imagenet1k.pth")}
SLOW = ("05_profile.py", "06_deploy.py", "07_fine_tune.py", "08_resume.py", "09_sagemaker.py", "13_journey.py")
QUICKER = {"09_sagemaker.py": ("--max-jobs", "2")}


@pytest.mark.parametrize(
    "example",
    [pytest.param(path, marks=pytest.mark.slow) if path.name in SLOW else path for path in EXAMPLES],
    ids=lambda path: path.name,
)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    data = photos_folder()
    wanted = PHOTOS.get(example.name, ()) if (data / "weights").is_dir() else ()
    given = [word if word.startswith("--") else str(data / word) for word in wanted]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example), *given, *QUICKER.get(example.name, ())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing behind where it is run"


# What the output of each program must show.
SHOWN = {
    "experiment_tracker.py": [
        r'"epoch/valid_loss": \d',
        r'"accuracy/[\w.]+": [01]\.',
        '"finished": true, "exit_code": 0',
    ],
    "service.py": [r"^200 .*probability", "^422 the given bytes", r"^422 \['body', 'epochs'\]", "^202 Completed"],
    "train_from_csv.py": [r"^3 epochs, best valid loss \d", r"^test accuracy \d+% of 6 images"],
}
PROGRAMS = sorted(FOLDER.joinpath("building_on").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_a_program_built_on_breedclf_runs(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    for line in SHOWN[program.name]:
        assert re.search(line, done.stdout, re.MULTILINE), f"{line} isn't in:\n{done.stdout}"
    assert list(tmp_path.iterdir()) == [], "a program leaves nothing behind where it is run"


@pytest.mark.parametrize("distributed", [(), ("-n", "2")], ids=["one-process", "two-processes"])
def test_a_test_suite_built_on_breedclf_passes_twice(distributed: tuple[str, ...], tmp_path: Path) -> None:
    suite = shutil.copytree(FOLDER / "building_on/photo_sorter", tmp_path / "suite")
    for _ in range(2):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *distributed, "."]
        done = subprocess.run(command, cwd=suite, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout
        assert "4 passed" in done.stdout
    assert {path.suffix or path.name for path in suite.iterdir()} <= {".py", "__pycache__"}


def test_examples_are_numbered_from_one() -> None:
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+\.py", path.name) for path in EXAMPLES)


@pytest.mark.slow
def test_the_project_on_sagemaker_shows_each_of_its_steps_with_sagemakers_toolkits(
    toolkit: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(FOLDER / "09_sagemaker.py"), "--python", str(toolkit / "python"), "--max-jobs", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    shown = [
        r"22 files, sent 22, verified",
        r"learning_rate +batch_size +epochs +valid_loss",
        r"([* ] +tune-.* Completed .*\n){2}",
        r"best: \{'learning_rate': 0\.0.*'batch_size': (32|64), 'epochs': [23]\}",
        r"profiler: .*'ProfilingIntervalInMilliseconds': 500",
        r"debugger saves: \['losses', 'gradients'",
        r"log: epoch 1, train_loss .*\nlog: epoch 2, train_loss",
        r"rule: ProfilerReport",
        r"rule: LossNotDecreasing",
        r"\d+ ok, ",
        r"report: report.html",
        r"(\d+\.\w+/\d+\.jpg: \w+ \d+%, \w+ \d+%\n){3}",
        r"endpoints left: \[\]",
        r"objects deleted: \d+\njobs left: \[\]",
    ]
    position = 0
    for pattern in shown:
        found = re.compile(pattern).search(done.stdout, position)
        assert found, f"{pattern} isn't shown after {done.stdout[:position][-200:]!r}:\n{done.stdout}"
        position = found.end()
