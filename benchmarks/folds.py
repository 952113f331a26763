"""Cross-validation by tables: each image of a dataset is a test image of exactly one fold."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from breedclf.data.image_folder import scan

VALID_SHARE = 1 / 8


def fold_tables(data: Path, output: Path, *, folds: int, seed: int) -> list[Path]:
    """One table per fold, with all images of a dataset and their splits, drawn by class.

    Of the images that aren't test images of a fold, an eighth validates, and the others train.
    """
    by_label: dict[str, list[Path]] = {}
    dataset = scan(data)
    for split in map(dataset.split, ("train", "valid", "test")):
        for index, target in enumerate(split.targets):
            by_label.setdefault(dataset.labels[target], []).append(Path(split.images.name(index)).resolve())
    draw, place = random.Random(seed), 0
    fold_of: dict[Path, int] = {}
    for paths in by_label.values():
        for path in draw.sample(paths, len(paths)):
            fold_of[path], place = place % folds, place + 1
    output.mkdir(parents=True, exist_ok=True)
    tables = []
    for fold in range(folds):
        tables.append(output / f"fold-{seed}-{fold}.csv")
        with tables[-1].open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", "split"])
            for label, paths in by_label.items():
                others = [path for path in paths if fold_of[path] != fold]
                valid = set(draw.sample(others, max(1, round(len(others) * VALID_SHARE))))
                for path in paths:
                    part = "test" if fold_of[path] == fold else "valid" if path in valid else "train"
                    rows.writerow((path, label, part))
    return tables
