"""Seconds of whole training runs that are profiled in full, over the same runs with timers only.

The head on a frozen backbone, whose images pass through it once, and the last stage, trained step by step, on few
images each, so that what a recording costs by itself weighs most. Runs alternate in one process, which has loaded all
that they need, and start with cold caches; the recording's own figures say where its time went.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from benchmarks.few_images import link
from benchmarks.measuring import DATA, WEIGHTS, arguments, at_most, interleaved, ratios, report
from breedclf import Trainer, TrainingConfig

NAME, MOST = "hymenoptera", 1.3
RUNS: dict[str, dict[str, Any]] = {
    "head": {"freeze": "head", "epochs": 5},
    "last_stage": {"freeze": "last_stage", "epochs": 2, "learning_rate": 0.0005},
}
IMAGES = {"head": 96, "last_stage": 48}


def main() -> int:
    given = arguments(__doc__, repeats=3)
    goals, details = [], {}
    for kind in RUNS:
        found = measured(kind, given.repeats)
        details[kind] = found
        goals.append(at_most(f"profiled in full over timers only, {kind}", found["ratio"]["median"], MOST))
    return report("profiling_cost", goals, details, given)


def measured(kind: str, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        link_some(home / "images", IMAGES[kind])

        def train(profile: Literal["timers", "full"]) -> None:
            for name in ("cache", "out"):
                shutil.rmtree(home / name, ignore_errors=True)
            config = TrainingConfig(
                data=home / "images", weights=str(WEIGHTS), output=home / "out", cache_dir=home / "cache",
                profile=profile, **RUNS[kind],
            )  # fmt: skip
            Trainer(config).fit()

        train("full")
        overhead = json.loads((home / "out/profile/profile.json").read_text(encoding="utf-8"))["overhead"]
        seconds = interleaved({"timers": lambda: train("timers"), "full": lambda: train("full")}, repeats)
    ratio = ratios(seconds["full"]["wall"], seconds["timers"]["wall"])
    return {"ratio": ratio, "seconds": seconds, "overhead": overhead}


def link_some(folder: Path, count: int) -> None:
    """Link to the first photos of each class: `count` to train on, and a quarter as many to validate with."""
    for split, some in (("train", count), ("valid", count // 4)):
        classes = sorted(each for each in (DATA / NAME / split).iterdir() if each.is_dir())
        for label in classes:
            link(sorted(label.glob("*.jpg"))[: some // len(classes)], folder / split / label.name)


if __name__ == "__main__":
    sys.exit(main())
