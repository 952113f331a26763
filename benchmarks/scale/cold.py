"""The rate of a pass over images that no store has, compared with that of an earlier revision."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import at_least, ratios
from benchmarks.scale.images import write_images
from benchmarks.scale.runs import Run, Setup, train

ROOT = Path(__file__).parents[2]


def cold(setup: Setup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Runs on new images, in turns with a revision of `--before`; without it, only their rate."""
    count = setup.images(1_024, 64)
    valid = count // 8
    data = write_images(setup.folder / "cold-images", {"train": count - valid, "valid": valid})
    now: list[Run] = []
    then: list[Run] = []
    with _source(setup) as before:
        for repeat in range(setup.repeats):
            # The one that is first is the other one in the next turn.
            turns = [(now, None), (then, before)] if before is not None else [(now, None)]
            for runs, source in turns[:: -1 if repeat % 2 else 1]:
                runs.append(train(setup, data, "cold", cache="cold-cache", source=source))
                shutil.rmtree(setup.folder / "cold-cache")
    shutil.rmtree(data)
    details: dict[str, Any] = {"images": count, "images per second": [count / _seconds(run) for run in now]}
    if not then:
        return [], details
    rates = ratios([_seconds(run) for run in then], [_seconds(run) for run in now])
    cpu = ratios([run.cpu for run in then], [run.cpu for run in now])
    details |= {"before": setup.before, "images per second before": [count / _seconds(run) for run in then]}
    what = f"images per second of a run on new images, over revision {setup.before}"
    return [at_least(what, rates["median"], 0.97)], details | {"ratio": rates, "ratio of CPU seconds": cpu}


def _seconds(run: Run) -> float:
    return float(run.document["seconds"])


@contextmanager
def _source(setup: Setup) -> Iterator[Path | None]:
    """The package at the revision to compare with."""
    if setup.before is None:
        yield None
        return
    folder = setup.folder / "before"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", str(folder), setup.before], check=True, capture_output=True)
    try:
        yield folder / "src"
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True, capture_output=True)
