"""A training on cached features as a whole process, over importing torch and torchvision.

The images are generated, the networks are a ResNet-50 and, with timm, EfficientNet-Lite0, both with random weights.
The first run of each network fills a cache of its own: about five minutes for 6,000 images on two cores.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.few_images import link
from benchmarks.measuring import at_most, interleaved, parser_for, ratios, report
from benchmarks.memory import draw

CLASSES = 10
GOAL = 1.25
IMPORTS = "importing torch and torchvision"


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="repeats (default: 5)")
    parser.add_argument("--images", type=int, default=6_000, help="generated images (default: 6000)")
    parser.add_argument("--architectures", nargs="+", default=_networks(), help="networks to train")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = _classes(Path(folder), given.images)
        environment = os.environ | {"BREEDCLF_CACHE_DIR": str(Path(folder) / "cache")}
        runs = {name: _training(data, name, Path(folder) / "out") for name in given.architectures}
        for command in runs.values():
            _run(command, environment)
        runs[IMPORTS] = ["-c", "import torch, torchvision"]
        works = {name: (lambda command=command: _run(command, environment)) for name, command in runs.items()}
        seconds = {name: each["wall"] for name, each in interleaved(works, given.repeats).items()}
    over = {name: ratios(seconds[name], seconds[IMPORTS]) for name in given.architectures}
    goals = [
        at_most(f"{name}, {given.images:,} images, cached features: training over {IMPORTS}", each["median"], GOAL)
        for name, each in over.items()
    ]
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    details: dict[str, Any] = {"ratios": over, "median seconds": medians, "seconds": seconds}
    return report("warm_train", goals, details, given)


def _networks() -> list[str]:
    return ["resnet50", *(["timm:tf_efficientnet_lite0"] if importlib.util.find_spec("timm") else [])]


def _classes(folder: Path, images: int) -> Path:
    """The images as one folder per class, of links."""
    drawn = folder / "drawn"
    drawn.mkdir()
    for number, path in enumerate(sorted(draw(drawn, images).glob("*.jpg"))):
        link([path], folder / "images" / f"class{number % CLASSES}")
    return folder / "images"


def _training(data: Path, architecture: str, output: Path) -> list[str]:
    words = ["--architecture", architecture, "--weights", "none", "--output", str(output)]
    return ["-m", "breedclf", "train", str(data), *words]


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, *command], check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
