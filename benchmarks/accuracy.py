"""Test accuracy of the default settings over five seeds, by dataset and backbone; dog-groups also by folds.

Features are stored, so that each image passes each backbone once; `--cache-dir` keeps them for the next run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.folds import fold_tables
from benchmarks.measuring import BACKBONES, DATA, WEIGHTS, at_least, at_most, parser_for, report
from breedclf import Trainer, TrainingConfig, evaluate

SEEDS = range(5)
FOLDS = 5
Measured = tuple[list[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """Where a run of the benchmark stores features and models."""

    cache: Path
    output: Path
    backbones: dict[str, Path]

    def right(self, data: Path, **settings: Any) -> tuple[int, int]:
        """Train, and return (correct, total) predictions on the test split."""
        found = self.evaluated(data, **settings)
        return round(found.accuracy * found.count), found.count

    def evaluated(self, data: Path, **settings: Any) -> Any:
        """Train with defaults except for these settings, and evaluate on the test split."""
        own = {"weights": str(WEIGHTS), "cache_dir": self.cache, "output": self.output, "checkpoints": False}
        config = TrainingConfig(data=data, **{**own, **settings})
        result = Trainer(config).fit()
        return evaluate(result.artifact, data, feature_cache=config.feature_cache, cache_dir=self.cache)


def small(setup: Setup) -> Measured:
    """Three small datasets: the standardized and the plain linear head, with and without stored features."""
    goals, details = [], {}
    for name, epochs, goal in [
        ("hymenoptera", 3, 0.96),
        ("dog-groups", 3, 0.55),
        ("dog-breeds-tiny", 3, 0.62),
        ("dog-breeds-tiny", 20, 0.87),
    ]:
        counts = {
            head: [setup.right(DATA / name, epochs=epochs, seed=seed, head=head) for seed in SEEDS]
            for head in ("standardized", "linear")
        }
        total = counts["standardized"][0][1]
        mean = statistics.mean(count for count, _ in counts["standardized"]) / total
        goals.append(at_least(f"{name}, {epochs} epochs, mean test accuracy of 5 seeds", mean, goal))
        details[f"{name}, {epochs} epochs"] = {
            "right": {head: [count for count, _ in found] for head, found in counts.items()},
            "of": total,
        }
        if epochs == 3:
            exact, _ = setup.right(DATA / name, epochs=epochs, feature_cache=False)
            apart = abs(exact - counts["standardized"][0][0])
            goals.append(at_most(f"{name}: difference between cached and exact features, in test images", apart, 1))
    return goals, details


def by_backbone(name: str, wanted: dict[str, float]) -> Callable[[Setup], Measured]:
    """The default settings with each backbone on a dataset, with a goal for some of them."""

    def measured(setup: Setup) -> Measured:
        goals, details = [], {}
        for architecture, file in setup.backbones.items():
            found = [
                setup.evaluated(DATA / name, architecture=architecture, weights=str(file), seed=seed) for seed in SEEDS
            ]
            mean = statistics.mean(each.accuracy for each in found)
            details[f"{name}, {architecture}"] = about = {
                "right": [round(each.accuracy * each.count) for each in found],
                "of": found[0].count,
                "accuracy": mean,
                "loss": statistics.mean(each.loss for each in found),
            }
            print(name, architecture, about, file=sys.stderr, flush=True)
            if architecture in wanted:
                what = f"{name}, {architecture}, mean test accuracy of 5 seeds"
                goals.append(at_least(what, mean, wanted[architecture]))
        return goals, details

    return measured


def dog_groups_folds(setup: Setup) -> Measured:
    """Each image of dog-groups is a test image of one of five folds."""
    details: dict[str, Any] = {}
    for architecture, file in setup.backbones.items():
        counts = []
        for seed in SEEDS:
            tables = fold_tables(DATA / "dog-groups", setup.output / "folds", folds=FOLDS, seed=seed)
            found = [setup.right(table, architecture=architecture, weights=str(file), seed=seed) for table in tables]
            counts.append(sum(right for right, _ in found))
            total = sum(count for _, count in found)
        details[f"dog-groups, {FOLDS} folds, {architecture}"] = {
            "right": counts,
            "of": total,
            "accuracy": statistics.mean(counts) / total,
        }
        print("dog-groups folds", architecture, counts, total, file=sys.stderr, flush=True)
    best = max(details, key=lambda name: details[name]["accuracy"])
    return [at_least(f"{best}, mean of 5 seeds", details[best]["accuracy"], 0.72)], details


PARTS: dict[str, Callable[[Setup], Measured]] = {
    "small": small,
    "cub100": by_backbone("cub100", {"resnet50": 0.805, "timm:tf_efficientnet_lite0": 0.878}),
    "dog-groups": dog_groups_folds,
    "pets-dogs25": by_backbone("pets-dogs25", {}),
}


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument(
        "--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES), help="networks to compare (default: all)"
    )
    parser.add_argument("--repeats", help=argparse.SUPPRESS)  # there are always five seeds
    parser.add_argument("--cache-dir", type=Path, help="folder of the stored features (default: a temporary one)")
    given = parser.parse_args()
    if not WEIGHTS.is_file():
        parser.exit(0, f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA\n")
    goals, details = [], {}
    with tempfile.TemporaryDirectory() as folder:
        backbones = {name: BACKBONES[name] for name in given.backbones if BACKBONES[name].is_file()}
        setup = Setup(given.cache_dir or Path(folder) / "cache", Path(folder) / "out", backbones)
        for part in given.only:
            found, about = PARTS[part](setup)
            goals += found
            details |= about
    return report("accuracy", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
