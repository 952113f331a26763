"""Labels flipped at random, found by a review: how well the ranking separates them, and whether its precision is true.

5% of the labels of each dataset are flipped in several seeds. AUROC is that of the ranking, and the precision that of
the first suspects: as stated, and as it is. `clean` is the same without flips. Only features cost time: they are stored
in `--cache-dir`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import BACKBONES, DATA, at_least, at_most, parser_for, report
from breedclf import TrainingConfig
from breedclf.label_review.images import reviewed_images
from breedclf.label_review.left_out import LeftOut
from breedclf.label_review.precision import judged, label_noise, probability_wrong

NETWORKS = ("resnet50", "timm:tf_efficientnet_lite2")
SEEDS = {"hymenoptera": 10, "dog-groups": 20, "cub100": 3}
GOALS = {"hymenoptera": 0.98, "dog-groups": 0.92}
_REFUSED_BELOW = 0.7
_FLIPPED_SHARE = 0.05
_MOST_GAP = 0.1


def main() -> int:
    parser = parser_for(__doc__, quick={"networks": NETWORKS[:1]})
    parser.add_argument("--cache-dir", type=Path, help="where features are stored (default: the platform's folder)")
    parser.add_argument("--data", nargs="+", choices=SEEDS, default=["hymenoptera", "dog-groups"], help="datasets")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="backbones")
    given = parser.parse_args()
    if not (DATA / "weights").is_dir():
        print(f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA")
        return 0
    details = {
        f"{name}, {network}": measured(name, network, given.cache_dir)
        for name in given.data
        for network in given.networks
    }
    goals = []
    for name, goal in GOALS.items():
        of_data = [each for title, each in details.items() if title.startswith(name)]
        if of_data:
            goals.append(
                at_least(
                    f"AUROC of 5% flipped labels, {name}, best network", max(each["auroc"] for each in of_data), goal
                )
            )
    for title, each in details.items():
        if each["accuracy"] >= _REFUSED_BELOW:
            gap = abs(each["stated_precision"] - each["true_precision"])
            goals.append(at_most(f"stated precision less the true one, {title}", gap, _MOST_GAP))
    return report("label_review", goals, details, given)


def measured(name: str, network: str, cache_dir: Path | None) -> dict[str, Any]:
    """Means over the seeds of one dataset and network."""
    cache = {} if cache_dir is None else {"cache_dir": cache_dir}
    config = TrainingConfig(data=DATA / name, architecture=network, weights=BACKBONES[network], **cache)
    images = reviewed_images(config, None)
    labels, classes = images.targets, len(images.labels)
    heads = LeftOut.of(images.features, images.groups)
    clean = judged(heads, labels, classes)
    first = max(10, round(_FLIPPED_SHARE * len(labels)))
    rows = []
    for seed in range(SEEDS[name]):
        flipped, wrong = with_flips(labels, classes, np.random.default_rng([seed, 5]))
        found = judged(heads, flipped, classes)
        confidence = found.confidence(flipped)
        noise = label_noise(heads, flipped, found, seed)
        chances, order = probability_wrong(heads, flipped, found, noise, seed), np.argsort(confidence)
        rows.append(
            (auroc(-confidence, wrong), chances[order[:first]].mean(), wrong[order[:first]].mean(), noise.error_rate)
        )
    means = np.mean(rows, axis=0).tolist()
    noise = label_noise(heads, labels, clean, 0)
    worst = np.argsort(clean.confidence(labels))[:first]
    return {
        "images": len(labels),
        "seeds": SEEDS[name],
        "accuracy": float((clean.probabilities.argmax(1) == labels).mean()),
        "auroc": means[0],
        "auroc_by_seed": [row[0] for row in rows],
        "first": first,
        "stated_precision": means[1],
        "true_precision": means[2],
        "error_rate": means[3],
        "clean_error_rate": noise.error_rate,
        "clean_stated_precision": float(probability_wrong(heads, labels, clean, noise, 0)[worst].mean()),
    }


def with_flips(
    labels: NDArray[np.int64], classes: int, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels [N], 5% of which are replaced by another class, and which ones."""
    flipped, wrong = labels.copy(), np.zeros(len(labels), bool)
    some = draw.choice(len(labels), max(1, round(_FLIPPED_SHARE * len(labels))), replace=False)
    flipped[some] = (labels[some] + draw.integers(1, classes, len(some))) % classes
    wrong[some] = True
    return flipped, wrong


def auroc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """The probability that a positive has a higher score than a negative; ties count half."""
    wins = np.sign(scores[positive][:, None].astype(np.float64) - scores[~positive][None])
    return float((wins.mean() + 1) / 2)


if __name__ == "__main__":
    sys.exit(main())
