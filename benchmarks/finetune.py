"""One epoch of training the whole network, compared with other libraries: time, memory, and correct test images.

make bench-peers, or python -m benchmarks.finetune [--repeats 5] once .venv-peers is there

As `benchmarks.peers`, but that every weight is trained, at a rate for all of 0.001, on fewer of the photos; with
bf16 on both sides where the hardware has it and the library can, and as each ships.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import DATA, arguments, at_least, quickest_precision
from benchmarks.trainings import IN_BF16, LIBRARIES, NAME, OURS, QUICK, compare, reported

IMAGES = {"train": 96, "valid": 32, "test": 50}


def main() -> int:
    given, bf16 = arguments(__doc__), quickest_precision() == "bf16"
    with tempfile.TemporaryDirectory() as root:
        data = fewer(DATA / NAME, Path(root))
        in_bf16 = IN_BF16 if bf16 else ()  # without bf16, the shipped settings are fastest
        libraries = QUICK if given.quick else LIBRARIES
        runs = compare(
            in_bf16, data, repeats=given.repeats, libraries=libraries, trainable="all", epochs=1, learning_rate=0.001
        )
    matched = "bf16" if bf16 else "shipped"
    shipped, alike = runs.fastest("shipped"), runs.fastest(matched)
    goals = [
        at_least(f"{alike} over ours in the same precision", runs.over_ours(alike, f"breedclf, {matched}"), 1.0),
        at_least(f"{shipped} over ours, each as it ships", runs.over_ours(shipped, OURS), 1.3),
        at_least("correct test images, minus the best other library's", runs.right_less_best(), -1),
    ]
    return reported("finetune", goals, runs, given)


def fewer(data: Path, root: Path) -> Path:
    """Copy a number of images of each split, taken in turn from each class."""
    for split, count in IMAGES.items():
        by_class = [sorted(each.iterdir()) for each in sorted((data / split).iterdir())]
        for picture in [each for together in zip(*by_class, strict=False) for each in together][:count]:
            place = root / data.name / split / picture.parent.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, place)
    return root / data.name


if __name__ == "__main__":
    sys.exit(main())
