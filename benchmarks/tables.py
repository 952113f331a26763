"""Start of a run on a table of 20,000 rows relative to the same images as a folder tree: find them and hash them."""

from __future__ import annotations

import csv
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import arguments, at_most, interleaved, ratios, report
from breedclf import TrainingConfig
from breedclf.data.image_folder import scan
from breedclf.data.training_data import load_data
from breedclf.features.digests import digests_of

IMAGES = 20_000
CLASSES = 100


def main() -> int:
    given = arguments(__doc__, repeats=7, needs_data=False)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        write_tree(home / "tree")
        write_table(home / "tree", home / "images.csv", home / "mixed.csv")
        found = {}

        def start(data: str) -> None:
            images = load_data(TrainingConfig(data=home / data))
            found[data] = [digests_of(split.images).fingerprint for split in (images.train, images.valid)]

        start("tree")  # the files are in the page cache from now on
        names = {"folder tree": "tree", "table": "images.csv", "shuffled table": "mixed.csv"}
        works = {title: lambda data=data: start(data) for title, data in names.items()}
        seconds = interleaved(works, given.repeats)
        assert found["tree"] == found["images.csv"]
    cost = {
        (title, clock): ratios(seconds[title][clock], seconds["folder tree"][clock])
        for title in ("table", "shuffled table")
        for clock in ("wall", "cpu")
    }
    goals = [
        at_most(f"start with a {title} of {IMAGES:,} rows over the folder tree, {clock}", ratio["median"], 1.1)
        for (title, clock), ratio in cost.items()
    ]
    details = {"seconds": seconds, "cost": {" ".join(key): ratio for key, ratio in cost.items()}}
    return report("tables", goals, details, given)


def write_tree(root: Path) -> None:
    """Small JPEGs in `train` and `valid`, each with its own content."""
    draw = np.random.default_rng(0)
    for number in range(IMAGES):
        split = "valid" if number // CLASSES % 10 == 0 else "train"
        folder = root / split / f"class-{number % CLASSES:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        file = BytesIO()
        Image.fromarray(draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
        (folder / f"{number:05d}.jpg").write_bytes(file.getvalue())


def write_table(tree: Path, in_order: Path, shuffled: Path) -> None:
    """Tables of the tree's images: in its order, and shuffled."""
    folder = scan(tree)
    rows = [
        (Path(split.images.name(index)).relative_to(tree.parent), folder.labels[target], name)
        for name, split in folder.splits.items()
        for index, target in enumerate(split.targets)
    ]
    for path in (in_order, shuffled):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split"), *rows])
        order = np.random.default_rng(0).permutation(len(rows))
        rows = [rows[at] for at in order]


if __name__ == "__main__":
    sys.exit(main())
