"""A short run of what `make soak` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.soak.jobs import soak


def test_jobs_disturbed_at_random_leave_nothing_behind(tmp_path: Path) -> None:
    figures = soak(tmp_path, jobs=10, seconds=120, seed=3, parallel=2, preload_share=0)
    assert figures["problems"] == []
    assert figures["jobs"] == 10
