"""The benchmark of growing datasets runs: its parts at sizes of seconds, by the command that the docs show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.scale import simulation

ROOT = Path(__file__).resolve().parents[2]


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
