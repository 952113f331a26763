"""Test accuracy of each kind of head by backbone and dataset, means of five seeds; and seconds of whole processes.

Features are stored, so that each image passes each backbone once; `--cache-dir` keeps them for the next run.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.accuracy import SEEDS, Setup
from benchmarks.measuring import BACKBONES, DATA, WEIGHTS, at_most, parser_for, ratios, report

DATASETS = ("cub100", "dog-groups", "pets-dogs25", "hymenoptera", "dog-breeds-tiny")
HEADS = ("standardized", "whitened")
MOST_SECONDS = 1.2
"""Of a whole process with the whitened head, over those with the standardized one."""


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1})
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), help="default: all")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES), help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of processes that are timed; 0 for none")
    parser.add_argument("--cache-dir", type=Path, help="folder of the stored features (default: a temporary one)")
    given = parser.parse_args()
    if not WEIGHTS.is_file():
        parser.exit(0, f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA\n")
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(given.cache_dir or Path(folder) / "cache", Path(folder) / "out", {})
        details: dict[str, Any] = {
            f"{data}, {backbone}": compared(setup, data, backbone)
            for backbone in given.backbones
            if BACKBONES[backbone].is_file()
            for data in given.datasets
        }
        goals: list[dict[str, Any]] = []
        for backbone in given.backbones if given.repeats and "cub100" in given.datasets else ():
            found, about = timed(setup, backbone, given.repeats)
            goals += found
            details |= about
    return report("heads", goals, details, given)


def compared(setup: Setup, data: str, backbone: str) -> dict[str, Any]:
    """Correct test images of each seed, and the mean loss, by head."""
    found: dict[str, Any] = {}
    own = {"architecture": backbone, "weights": str(BACKBONES[backbone])}
    for head in HEADS:
        results = [setup.evaluated(DATA / data, head=head, seed=seed, **own) for seed in SEEDS]
        found[head] = {
            "right": [round(each.accuracy * each.count) for each in results],
            "of": results[0].count,
            "accuracy": statistics.mean(each.accuracy for each in results),
            "loss": statistics.mean(each.loss for each in results),
        }
    print(data, backbone, found, file=sys.stderr, flush=True)
    return found


def timed(setup: Setup, backbone: str, repeats: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Seconds of `breedclf train` with each head in turn, on cub100's stored features: all of train and test."""
    table = setup.output / "all.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for image in sorted((DATA / "cub100").glob("*/*/*")):
            split = "valid" if image.parts[-3] == "valid" else "train"
            writer.writerow([image, image.parent.name, split])
    seconds: dict[str, list[float]] = {head: [] for head in HEADS}
    for repeat in range(-1, repeats):  # the first pair fills the page cache
        for head in HEADS:
            own = {"architecture": backbone, "weights": BACKBONES[backbone], "cache-dir": setup.cache, "head": head}
            flags = [f"--{name}={value}" for name, value in own.items()]
            command = [sys.executable, "-m", "breedclf", "train", str(table), *flags, f"--output={setup.output / head}"]
            start = time.perf_counter()
            subprocess.run([*command, "--no-checkpoints"], check=True, capture_output=True)
            if repeat >= 0:
                seconds[head].append(time.perf_counter() - start)
    ratio = ratios(seconds["whitened"], seconds["standardized"])
    what = f"whole process on 5,902 stored features, {backbone}: whitened over standardized"
    return [at_most(what, ratio["median"], MOST_SECONDS)], {f"seconds, {backbone}": {**seconds, "ratio": ratio}}


if __name__ == "__main__":
    sys.exit(main())
