"""Processes that write features and are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from breedclf.features.store.index import Index
from tests.features.store.killed_writers import AT_A_TIME, SIZE


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_writers_leave_what_was_durable_and_nothing_damaged(tmp_path: Path, rounds: int) -> None:
    folder, writers = tmp_path / "set", 3
    words = [sys.executable, "-m", "tests.features.store.killed_writers", str(folder), str(rounds), str(writers)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with Index(folder / "index.sqlite") as index:
        images, in_shards = len(index), sum(index.shards().values())
    assert images == in_shards == int(done.stdout)
    assert images >= rounds * AT_A_TIME
    size = sum(path.stat().st_size for path in folder.glob("*.rows"))
    assert size <= (images + writers * AT_A_TIME) * SIZE * 4
    assert not list(folder.glob("*.use"))
    assert len(list(folder.glob("*.rows"))) == writers
