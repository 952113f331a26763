"""Every numbered example runs as it stands, on pictures drawn for the purpose."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import photographs_folder

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


# The whole journey runs on photographs where there are some.
PHOTOGRAPHS = {"09_sagemaker.py": ("--data", "dog-breeds-tiny", "--weights", "weights/resnet50-imagenet1k.pth")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    data = photographs_folder()
    wanted = PHOTOGRAPHS.get(example.name, ()) if (data / "weights").is_dir() else ()
    given = [word if word.startswith("--") else str(data / word) for word in wanted]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example), *given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing behind where it is run"


def test_examples_are_numbered_from_one() -> None:
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+\.py", path.name) for path in EXAMPLES)
