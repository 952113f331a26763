"""Recipes: selected on valid over five seeds, measured on test; layer4 compared with the head."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import BACKBONES, DATA, WEIGHTS, at_least, parser_for, report
from breedclf import TrainingConfig, evaluate
from breedclf.data.image_folder import scan
from breedclf.training.fit import fit
from breedclf.training.run_cache import RunCache

SEEDS = range(5)
SLOW: dict[str, Any] = {"epochs": 24, "learning_rate": 0.0002}
SMALL_DATA: dict[str, dict[str, Any]] = {
    "default": {},
    "24 epochs": {"epochs": 24},
    "24 epochs, lr 0.0002": SLOW,
    "4 views, 24 epochs, lr 0.0002": {"views": 4, **SLOW},
    "4 views, 24 epochs, lr 0.0002, smoothing 0.1": {"views": 4, "label_smoothing": 0.1, **SLOW},
    "4 views, 24 epochs, lr 0.0002, mixup 0.2": {"views": 4, "mixup": 0.2, **SLOW},
    "4 views, 24 epochs, lr 0.0002, balanced": {"views": 4, "class_weights": "balanced", **SLOW},
}
# Heads on the plain crop and its mirror image, whose features are stored: a recipe costs seconds.
COSINE: dict[str, Any] = {"epochs": 12, "schedule": "cosine"}
HEADS: dict[str, dict[str, Any]] = {
    "default": {},
    "20 epochs": {"epochs": 20},
    "whitened": {"head": "whitened"},
    "whitened, 10 epochs, lr 0.001": {"head": "whitened", "epochs": 10, "learning_rate": 0.001},
    "20 epochs, flip": {"epochs": 20, "augment": "flip"},
    "12 epochs, cosine, smoothing 0.1": {**COSINE, "label_smoothing": 0.1},
    "12 epochs, cosine, smoothing 0.1, flip": {**COSINE, "label_smoothing": 0.1, "augment": "flip"},
}
# The plain crop, so that the frozen backbone runs once and its output is kept in memory.
LAYER4: dict[str, dict[str, Any]] = {
    "layer4": {"freeze": "layer4", "augment": "none", "backbone_learning_rate": 1e-4},
}
LITE0 = "timm:tf_efficientnet_lite0"
Measured = tuple[list[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """Where a run of the benchmark stores features and models, and what its training runs share."""

    cache: Path
    output: Path
    run_cache: RunCache
    tta: bool = True

    def measured(self, title: str, name: str, *, tta: bool = False, **settings: Any) -> dict[str, Any]:
        """Train with each seed; return correct images on valid and test, the validation loss, and seconds."""
        own = {"weights": str(WEIGHTS), "profile": "off", "checkpoints": False, **settings}
        ways = {"test_right": False, **({"test_right_with_tta": True} if tta else {})}
        right: dict[str, list[int]] = {"valid_right": [], **{way: [] for way in ways}}
        losses, seconds, total = [], [], 0
        for seed in SEEDS:
            config = TrainingConfig(data=DATA / name, output=self.output, cache_dir=self.cache, seed=seed, **own)
            result = fit(config, run_cache=self.run_cache)
            right["valid_right"].append(round(result.best.valid_accuracy * len(scan(DATA / name).split("valid"))))
            for way, averages in ways.items():
                found = evaluate(result.artifact, DATA / name, cache_dir=self.cache, tta=averages)
                right[way].append(round(found.accuracy * found.count))
                total = found.count
            losses.append(result.best.valid_loss)
            seconds.append(round(result.seconds, 1))
        made = {
            "settings": {key: value for key, value in settings.items() if key != "weights"},
            **right,
            "of": total,
            "mean_valid_loss": statistics.mean(losses),
            "seconds": seconds,
        }
        print(name, title, made, file=sys.stderr, flush=True)
        return made


def small(setup: Setup) -> Measured:
    """dog-groups: recipes for a head on few images of similar classes, selected by the validation loss."""
    groups = {title: setup.measured(title, "dog-groups", **recipe) for title, recipe in SMALL_DATA.items()}
    chosen = min(groups, key=lambda title: groups[title]["mean_valid_loss"])
    gain = statistics.mean(groups[chosen]["test_right"]) - statistics.mean(groups["default"]["test_right"])
    what = (
        f"dog-groups, correct test images of {groups[chosen]['of']}: '{chosen}', selected on valid, minus the default"
    )
    return [at_least(what, gain, 0.0)], {"chosen": chosen, **_named("dog-groups", groups)}


def layer4(setup: Setup) -> Measured:
    """hymenoptera: layer4 and the head."""
    ants = {
        title: setup.measured(title, "hymenoptera", **recipe) for title, recipe in ({"default": {}} | LAYER4).items()
    }
    gain = statistics.mean(ants["layer4"]["test_right"]) - statistics.mean(ants["default"]["test_right"])
    what = f"hymenoptera, correct test images of {ants['layer4']['of']}: layer4 and the head, minus the head alone"
    return [at_least(what, gain, 0.0)], _named("hymenoptera", ants)


def heads(setup: Setup) -> Measured:
    """cub100: recipes for a head on many similar classes, selected by the validation accuracy."""
    backbone = {"architecture": LITE0, "weights": str(BACKBONES[LITE0])}
    found = {
        title: setup.measured(title, "cub100", tta=setup.tta, **backbone, **recipe) for title, recipe in HEADS.items()
    }
    chosen = max(found, key=lambda title: statistics.mean(found[title]["valid_right"]))
    way = "test_right_with_tta" if setup.tta else "test_right"
    accuracy = statistics.mean(found[chosen][way]) / found[chosen]["of"]
    what = f"cub100, {LITE0}, mean test accuracy of 5 seeds: '{chosen}', selected on valid{', tta' * setup.tta}"
    return [at_least(what, accuracy, 0.89)], {"chosen on cub100": chosen, **_named("cub100", found)}


def _named(data: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{data}, {title}": about for title, about in found.items()}


PARTS: dict[str, Callable[[Setup], Measured]] = {"layer4": layer4, "small": small, "heads": heads}


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument("--cache-dir", type=Path, help="folder of the stored features (default: a temporary one)")
    parser.add_argument("--no-tta", action="store_true", help="leave out test-time augmentation, and its pass")
    given = parser.parse_args()
    if not WEIGHTS.is_file():
        parser.exit(0, f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA\n")
    goals: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        setup = Setup(given.cache_dir or home / "cache", home / "out", RunCache(), tta=not given.no_tta)
        for part in given.only:
            found, about = PARTS[part](setup)
            goals += found
            details |= about
    return report("recipes", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
