"""A comparison of four backbones on 2,999 photos of birds, compared with the passes over the photos that it needs.

The bare passes compute the features of the same photos with the same weights, without a store, heads or statistics.
`--per-class` takes fewer photos, and `--data` another dataset.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import DATA, at_most, interleaved, parser_for, ratios, report
from breedclf import BackboneComparison, TrainingConfig, compare_backbones
from breedclf.backbones.candidates import candidate_configs, load_candidate
from breedclf.backbones.pool import pooled
from breedclf.backbones.text import comparison_text
from breedclf.data.image_source import EncodedImages
from breedclf.data.training_data import load_data
from breedclf.runtime.device import compute_of

WEIGHTS = {
    "resnet18": "resnet18-imagenet1k.pth",
    "resnet50": "resnet50-imagenet1k.pth",
    "timm:tf_efficientnet_lite0": "efficientnet-lite0.pth",
    "timm:tf_efficientnet_lite2": "efficientnet-lite2.pth",
}


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1})
    parser.add_argument("--repeats", type=int, default=3, help="repeats (default: 3)")
    parser.add_argument("--data", type=Path, default=DATA / "cub100", help="image folder")
    parser.add_argument("--per-class", type=int, metavar="N", help="use N training images of each class only")
    given = parser.parse_args()
    if not given.data.is_dir() or not (DATA / "weights").is_dir():
        print(f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA")
        return 0
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    weights = {name: DATA / "weights" / file for name, file in WEIGHTS.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = given.data if given.per_class is None else _table(given.data, folder / "images.csv", given.per_class)
        config = TrainingConfig(data=data, cache_dir=folder / "cache")
        found: list[BackboneComparison] = []

        def compare() -> None:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            found.append(compare_backbones(config, list(WEIGHTS), weights=weights))

        seconds = interleaved({"bare passes": lambda: bare_passes(config, weights), "compare": compare}, given.repeats)
    print(comparison_text(found[-1]), file=sys.stderr)
    ratio = ratios(seconds["compare"]["wall"], seconds["bare passes"]["wall"])
    goals = [at_most("a comparison of four backbones over their bare passes", ratio["median"], 1.1)]
    details = {"seconds": seconds, "ratio": ratio, "comparison": found[-1].to_dict()}
    return report("backbone_choice", goals, details, given)


def bare_passes(config: TrainingConfig, weights: dict[str, Path]) -> None:
    """The features of all training and validation images, backbone by backbone."""
    data, compute = load_data(config), compute_of(config)
    images = EncodedImages(pooled(data).images)
    for each in candidate_configs(config, list(weights), weights).values():
        load_candidate(each, data, compute)[1].extract(images)


def _table(data: Path, file: Path, per_class: int) -> Path:
    """A table of the first images of each class."""
    rows = ["path,label,split"]
    for split in ("train", "valid"):
        for label in sorted(path for path in (data / split).iterdir() if path.is_dir()):
            images = sorted(label.iterdir())[: per_class if split == "train" else max(1, per_class // 4)]
            rows += [f"{image},{label.name},{split}" for image in images]
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


if __name__ == "__main__":
    sys.exit(main())
