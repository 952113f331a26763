"""Cross-validation by tables: each image of a dataset is a test image of exactly one fold."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from breedclf.data.image_folder import scan


def fold_tables(data: Path, output: Path, *, folds: int, seed: int) -> list[Path]:
    """One table per fold, with all images of a dataset and their splits, by class; the next fold is the valid split."""
    by_label: dict[str, list[Path]] = {}
    dataset = scan(data)
    for split in map(dataset.split, ("train", "valid", "test")):
        for index, target in enumerate(split.targets):
            by_label.setdefault(dataset.labels[target], []).append(Path(split.images.name(index)))
    draw, place = random.Random(seed), 0
    fold_of: dict[Path, int] = {}
    for paths in by_label.values():
        for path in draw.sample(paths, len(paths)):
            fold_of[path], place = place % folds, place + 1
    output.mkdir(parents=True, exist_ok=True)
    tables = []
    for fold in range(folds):
        splits = {fold: "test", (fold + 1) % folds: "valid"}
        tables.append(output / f"fold-{seed}-{fold}.csv")
        with tables[-1].open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", "split"])
            for label, paths in by_label.items():
                rows.writerows((path.resolve(), label, splits.get(fold_of[path], "train")) for path in paths)
    return tables
