"""Evaluation of images whose features aren't stored, compared with decoding them and the frozen forward pass alone.

The bare pass decodes the next chunk of images in threads while the network computes one, and drops the features. The
evaluation also reads and hashes the files, measures the answers, and writes the report with its small images and maps.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.few_images import link
from benchmarks.measuring import BACKBONES, DATA, at_least, interleaved, parser_for, ratios, report
from breedclf import Trainer, TrainingConfig, evaluate
from breedclf.data.decoding import decode_image
from breedclf.inference.model_directory import read_artifact
from breedclf.inference.scoring import ModelParts, chunk_size_of
from breedclf.runtime.device import compute_for
from breedclf.runtime.machine import available_cores
from breedclf.runtime.threads import chunks_ahead

NAME = "cub100"
TRAINED_ON = 2  # images per class and split, so that the model has all classes


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1, "images": 100, "architecture": "timm:tf_efficientnet_lite0"})
    parser.add_argument("--repeats", type=int, default=3, help="repeats (default: 3)")
    parser.add_argument("--images", type=int, default=2_903, help="test images (default: 2903, all of them)")
    parser.add_argument("--architecture", default="resnet50", choices=BACKBONES, help="default: resnet50")
    given = parser.parse_args()
    if not (DATA / NAME).is_dir():
        parser.exit(0, f"skipped: no photos in {DATA / NAME}; set BREEDCLF_TEST_DATA\n")
    weights = BACKBONES[given.architecture]
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for split in ("train", "valid"):
            for label in (DATA / NAME / split).iterdir():
                link(sorted(label.iterdir())[:TRAINED_ON], home / "images" / split / label.name)
        tests = sorted((DATA / NAME / "test").rglob("*.jpg"))[: given.images]
        for path in tests:
            link([path], home / "images" / "test" / path.parent.name)
        config = TrainingConfig(
            data=home / "images",
            architecture=given.architecture,
            weights=str(weights),
            learning_rate=0.001,
            output=home / "out",
            cache_dir=home / "cache",
        )
        model = Path(Trainer(config).fit().artifact)
        works = {
            "bare pass": lambda: bare_pass(model, tests),
            "evaluate": lambda: evaluate(model, home / "images", feature_cache=False, output=home / "evaluation"),
        }
        seconds = interleaved(works, given.repeats)
    share = ratios(seconds["bare pass"]["wall"], seconds["evaluate"]["wall"])
    what = f"{given.architecture}, {len(tests):,} images: rate of evaluate over that of the bare pass"
    details = {"rate over that of the bare pass": share, "images": len(tests), "seconds": seconds}
    return report("evaluate_pass", [at_least(what, share["median"], 0.97)], details, given)


@torch.inference_mode()
def bare_pass(model: Path, paths: list[Path]) -> None:
    """Build the network, and pass the images through it in chunks of the model's size."""
    card, _ = read_artifact(model)
    compute, size = compute_for("auto", "auto"), chunk_size_of(card)
    preprocessing, backbone = card.preprocessing, ModelParts.read(model).backbone.build(compute)

    def pixels(path: Path) -> torch.Tensor:
        return preprocessing.view(decode_image(path), 0)

    for chunk in chunks_ahead(pixels, paths, size, available_cores()):
        backbone(preprocessing.normalize(torch.stack(chunk).to(compute.device), compute.dtype)).float().cpu()


if __name__ == "__main__":
    sys.exit(main())
