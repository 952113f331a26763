"""Cost of training relative to its forward passes, of three epochs relative to one, and peak memory."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_most, interleaved, ratios, report
from breedclf import Trainer, TrainingConfig
from breedclf.data.image_folder import scan
from breedclf.models.network import frozen_backbone
from breedclf.models.published import preprocessing_for
from breedclf.models.weights import load_pretrained
from breedclf.runtime.device import compute_for

NAME = "hymenoptera"


def main() -> int:
    given = arguments(__doc__)
    folder = scan(DATA / NAME)
    count = len(folder.split("train")) + len(folder.split("valid"))
    compute = compute_for("auto", "auto")
    backbone = frozen_backbone("resnet50", load_pretrained("resnet50", str(WEIGHTS)).state, compute)
    preprocessing = preprocessing_for("resnet50", str(WEIGHTS))
    chunk_size = TrainingConfig(data=folder.root).chunk_size
    pictures = torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)

    @torch.inference_mode()
    def bare_forward() -> None:
        for split in ("train", "valid"):
            for chunk in pictures[: len(folder.split(split))].split(chunk_size):
                backbone(preprocessing.normalize(chunk.to(compute.device), compute.dtype)).cpu()

    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)

        def train(epochs: int) -> None:
            shutil.rmtree(home / "cache", ignore_errors=True)  # every run starts with a cold cache
            config = TrainingConfig(
                data=folder.root, weights=str(WEIGHTS), epochs=epochs, output=home / "out", cache_dir=home / "cache"
            )
            Trainer(config).fit()

        bare_forward()
        works = {"bare forward": bare_forward, "1 epoch": lambda: train(1), "3 epochs": lambda: train(3)}
        seconds = interleaved(works, given.repeats)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    cost = ratios(seconds["3 epochs"]["wall"], seconds["bare forward"]["wall"])
    epochs = ratios(seconds["3 epochs"]["wall"], seconds["1 epoch"]["wall"])
    goals = [
        at_most(f"a training run on {NAME} over the forward passes of its images", cost["median"], 1.25),
        at_most("three epochs over one", epochs["median"], 1.1),
        at_most("peak memory of the process in GB (the benchmark's own images included)", peak_gb, 2.0),
    ]
    details = {"images": count, "chunk_size": chunk_size, "precision": compute.precision, "seconds": seconds}
    details |= {"training over bare forward": cost, "three epochs over one": epochs}
    return report("training_cost", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
