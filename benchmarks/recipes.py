"""Recipes for small datasets: selected on valid over five seeds, measured on test; layer4 compared with the head."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_least, report
from breedclf import TrainingConfig
from breedclf.data.image_folder import scan
from breedclf.training.fit import fit
from breedclf.training.run_cache import RunCache

SEEDS = range(5)
SLOW: dict[str, Any] = {"epochs": 24, "learning_rate": 0.0002}
HEAD_RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "24 epochs": {"epochs": 24},
    "24 epochs, lr 0.0002": SLOW,
    "4 views, 24 epochs, lr 0.0002": {"views": 4, **SLOW},
    "4 views, 24 epochs, lr 0.0002, smoothing 0.1": {"views": 4, "label_smoothing": 0.1, **SLOW},
    "4 views, 24 epochs, lr 0.0002, mixup 0.2": {"views": 4, "mixup": 0.2, **SLOW},
    "4 views, 24 epochs, lr 0.0002, balanced": {"views": 4, "class_weights": "balanced", **SLOW},
}
# The plain crop, so that the frozen backbone runs once and its output is kept in memory.
LAYER4: dict[str, dict[str, Any]] = {
    "layer4": {"freeze": "layer4", "augment": "none", "backbone_learning_rate": 1e-4},
}


def measured(bench: RunCache, data: Path, home: Path, **settings: Any) -> dict[str, Any]:
    """Train with each seed; return correct images on valid and test, the validation loss, and seconds."""
    valid_right, test_right, losses, seconds = [], [], [], []
    test = scan(data).split("test")
    for seed in SEEDS:
        config = TrainingConfig(
            data=data,
            weights=str(WEIGHTS),
            output=home / "out",
            cache_dir=home,
            seed=seed,
            profile="off",
            checkpoints=False,
            **settings,
        )
        result = fit(config, run_cache=bench)
        best = (
            result.classifier.probabilities([test.images.read(index) for index in range(len(test))]).argmax(1).tolist()
        )
        test_right.append(sum(guess == target for guess, target in zip(best, test.targets, strict=True)))
        valid_right.append(round(result.best.valid_accuracy * len(scan(data).split("valid"))))
        losses.append(result.best.valid_loss)
        seconds.append(result.seconds)
    return {
        "settings": settings,
        "valid_right": valid_right,
        "test_right": test_right,
        "of": len(test),
        "mean_valid_loss": statistics.mean(losses),
        "seconds": [round(each, 1) for each in seconds],
    }


def main() -> int:
    given = arguments(__doc__)
    bench, found = RunCache(), {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)

        def measure(name: str, data: str, recipe: dict[str, Any]) -> dict[str, Any]:
            found[f"{data}, {name}"] = made = measured(bench, DATA / data, home, **recipe)
            print(data, name, made, file=sys.stderr, flush=True)
            return made

        ants = {name: measure(name, "hymenoptera", recipe) for name, recipe in ({"default": {}} | LAYER4).items()}
        groups = {name: measure(name, "dog-groups", recipe) for name, recipe in HEAD_RECIPES.items()}
    chosen = min(groups, key=lambda name: groups[name]["mean_valid_loss"])
    goals = [
        at_least(
            f"dog-groups, correct test images of {groups[chosen]['of']}: '{chosen}', selected on valid, minus the "
            "default",
            statistics.mean(groups[chosen]["test_right"]) - statistics.mean(groups["default"]["test_right"]),
            0.0,
        ),
        at_least(
            f"hymenoptera, correct test images of {ants['layer4']['of']}: layer4 and the head, minus the head alone",
            statistics.mean(ants["layer4"]["test_right"]) - statistics.mean(ants["default"]["test_right"]),
            0.0,
        ),
    ]
    return report("recipes", goals, {"chosen": chosen, "runs": found}, given)


if __name__ == "__main__":
    sys.exit(main())
