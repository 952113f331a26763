"""Sort images into one folder per class: code that uses breedclf, with a test suite beside it.

python -m pytest examples/building_on/photo_sorter
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from breedclf import Classifier

UNSURE = "unsure"


def sort_photos(inbox: Path, album: Path, classifier: Classifier, *, least_probability: float = 0.5) -> Counter[str]:
    """Copy each image of `inbox` into `album/CLASS`, or into `album/unsure`; returns how many went where."""
    images = sorted(path for path in inbox.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    counts: Counter[str] = Counter()
    for image, prediction in zip(images, classifier.predict(images), strict=True):
        best = prediction.best
        name = best.class_name if best.probability >= least_probability else UNSURE
        (album / name).mkdir(parents=True, exist_ok=True)
        shutil.copy2(image, album / name / image.name)
        counts[name] += 1
    return counts
