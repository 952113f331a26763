"""Test accuracy of the default settings, over five seeds and three datasets, with and without cached features."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_least, at_most, report
from breedclf import Trainer, TrainingConfig
from breedclf.data.image_folder import scan

SEEDS = range(5)


def right(data: Path, output: Path, **settings: Any) -> tuple[int, int]:
    """Train, and return (correct, total) predictions on the test split."""
    config = TrainingConfig(data=data, weights=str(WEIGHTS), output=output, checkpoints=False, **settings)
    result = Trainer(config).fit()
    test = scan(data).split("test")
    best = result.classifier.probabilities([test.images.read(index) for index in range(len(test))]).argmax(1).tolist()
    return sum(guess == target for guess, target in zip(best, test.targets, strict=True)), len(test)


def main() -> int:
    given = arguments(__doc__)
    goals, details = [], {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, epochs, goal in [
            ("hymenoptera", 3, 0.96),
            ("dog-groups", 3, 0.55),
            ("dog-breeds-tiny", 3, 0.62),
            ("dog-breeds-tiny", 20, 0.87),
        ]:
            counts = {
                head: [
                    right(DATA / name, home / "out", epochs=epochs, seed=s, head=head, cache_dir=home) for s in SEEDS
                ]
                for head in ("standardized", "linear")
            }
            total = counts["standardized"][0][1]
            mean = statistics.mean(count for count, _ in counts["standardized"]) / total
            goals.append(at_least(f"{name}, {epochs} epochs, mean test accuracy of 5 seeds", mean, goal))
            details[f"{name}, {epochs} epochs"] = {
                "right": {head: [count for count, _ in found] for head, found in counts.items()},
                "of": total,
            }
            print(name, epochs, details[f"{name}, {epochs} epochs"], file=sys.stderr, flush=True)
            if epochs == 3:
                exact, _ = right(DATA / name, home / "exact", epochs=epochs, feature_cache=False)
                apart = abs(exact - counts["standardized"][0][0])
                goals.append(at_most(f"{name}: difference between cached and exact features, in test images", apart, 1))
    return report("accuracy", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
