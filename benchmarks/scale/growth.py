"""Datasets that grow or stay: one more image among thousands, and runs on files that haven't changed."""

from __future__ import annotations

import shutil
import statistics
from typing import Any

from benchmarks.measuring import at_least, at_most, ratios
from benchmarks.scale.images import write_image, write_images
from benchmarks.scale.runs import Setup, train

Part = tuple[list[dict[str, Any]], dict[str, Any]]


def one_more(setup: Setup) -> Part:
    """One more image among 6,000, compared with a run on the same images again."""
    count = setup.size(6_000, 120)
    valid = count // 10
    data = write_images(setup.folder / "growing", {"train": count - valid, "valid": valid})
    cold = train(setup, data, "cold")
    train(setup, data, "warm-up")
    grown, warm = [], []
    for repeat in range(setup.repeats):
        write_image(data / "train", count + repeat)
        grown.append(train(setup, data, "one-more"))
        warm.append(train(setup, data, "again"))
    shutil.rmtree(data)
    cost = {
        "wall": ratios([run.wall for run in grown], [run.wall for run in warm]),
        "cpu": ratios([run.cpu for run in grown], [run.cpu for run in warm]),
        "without imports": ratios([_seconds(run) for run in grown], [_seconds(run) for run in warm]),
    }
    goals = [
        at_most(f"one more image among {count:,}: images computed", max(run.computed for run in grown), 1),
        at_least(f"one more image among {count:,}: images computed, at least", min(run.computed for run in grown), 1),
        at_most(f"one more image among {count:,}: time over a run on unchanged images", cost["wall"]["median"], 1.15),
    ]
    seconds = {"cold": [cold.wall], "one more": [run.wall for run in grown], "unchanged": [run.wall for run in warm]}
    return goals, {"images": count, "seconds": seconds, "ratios": cost}


def unchanged(setup: Setup) -> Part:
    """Runs on 20,000 unchanged files and on 200."""
    counts = setup.size(20_000, 400), setup.size(200, 40)
    folders = []
    for count in counts:
        valid = count // 10
        folders.append(write_images(setup.folder / f"images-{count}", {"train": count - valid, "valid": valid}))
        train(setup, folders[-1], f"cold-{count}")
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for repeat in range(setup.repeats + 1):
        for count, data in zip(counts, folders, strict=True):
            run = train(setup, data, f"warm-{count}")
            if repeat:
                seconds[count].append(run.wall)
    for data in folders:
        shutil.rmtree(data)
    many, few = counts
    more = [above - below for above, below in zip(seconds[many], seconds[few], strict=True)]
    what = f"seconds of a run on {many:,} unchanged files, more than on {few:,}"
    return [at_most(what, statistics.median(more), 1.0)], {"seconds": seconds, "difference": more}


def _seconds(run: Any) -> float:
    return float(run.document["seconds"])
