"""Memory of a feature pass over small JPEGs: peak RSS of a process at 1,000, 5,000 and 20,000 images.

The network is a ResNet18 with drawn weights, the images are generated, and each number of them gets a process of its
own, with features that no cache holds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measuring import at_most, parser_for, report

COUNTS = (1_000, 5_000, 20_000)
SIZE = (160, 120)
GOAL_KB = 15.0


def main() -> int:
    parser = parser_for(__doc__, quick={"counts": (100, 400)})
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of images, in ascending order")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = draw(Path(folder), max(given.counts))
        runs = {count: one_process(images, count) for count in given.counts}
    first, last = runs[given.counts[0]], runs[given.counts[-1]]
    images_more = given.counts[-1] - given.counts[0]
    features = last["feature_bytes"] - first["feature_bytes"]
    growth_kb = (last["peak_bytes"] - first["peak_bytes"] - features) / images_more / 1e3
    what = f"KB per image beyond its features, from {given.counts[0]:,} to {given.counts[-1]:,} images"
    return report("memory", [at_most(what, growth_kb, GOAL_KB)], {"image size": SIZE, "runs": runs}, given)


def draw(folder: Path, count: int) -> Path:
    """Create `count` different JPEGs of smooth noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        rough = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8))
        rough.resize(SIZE, Image.Resampling.BILINEAR).save(folder / f"{number:06}.jpg", quality=85)
    return folder


def one_process(images: Path, count: int) -> dict[str, Any]:
    code = "import sys; from benchmarks.memory import one_pass; one_pass(sys.argv[1], int(sys.argv[2]))"
    words = [sys.executable, "-c", code, str(images), str(count)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {count} images: {found['peak_bytes'] / 1e6:.0f} MB, {found['seconds']:.1f} s", file=sys.stderr, flush=True
    )
    return found


def one_pass(folder: str, count: int) -> None:
    """Run a feature pass over the first `count` images, and print its memory and time."""
    import resource

    from breedclf.data.image_source import EncodedImages
    from breedclf.data.preprocessing import Preprocessing
    from breedclf.data.split import ImageFiles
    from breedclf.features.extraction import FeatureExtractor
    from breedclf.models.backbones.backbone import find_backbone
    from breedclf.models.network import frozen_backbone
    from breedclf.runtime.device import compute_for

    paths = sorted(Path(folder).glob("*.jpg"))[:count]
    compute = compute_for("cpu", "auto")
    drawn = find_backbone("resnet18").new_network(seed=0).state_dict()
    state = {name: value for name, value in drawn.items() if not name.startswith("fc.")}
    extractor = FeatureExtractor(
        make_backbone=lambda: frozen_backbone("resnet18", state, compute),
        preprocessing=Preprocessing(),
        compute=compute,
        weights_fingerprint="drawn",
        chunk_size=32,
    )
    started = time.perf_counter()
    found = extractor.extract(EncodedImages(ImageFiles(paths)))
    seconds = time.perf_counter() - started
    factor = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor
    print(json.dumps({"peak_bytes": peak, "feature_bytes": found.values.nbytes, "seconds": seconds}))


if __name__ == "__main__":
    sys.exit(main())
