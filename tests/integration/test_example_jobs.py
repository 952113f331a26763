"""The example of jobs: submit, close Python, come back, predict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_job_is_submitted_in_one_python_and_fetched_in_another(
    patterns: Path, project_root: Path, tmp_path: Path
) -> None:
    picture = next((patterns / "test" / "002.Standing").iterdir())
    done = subprocess.run(
        [sys.executable, project_root / "examples" / "02_jobs.py", patterns, picture, "none", "resnet18"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].endswith("is InProgress")
    assert "best_valid_loss" in said[1]
    assert {line.split()[-1] for line in said[2:]} == {"Lying", "Standing"}
