"""Accuracy of verified advice: a run with slow decoding and no workers is verified, then timed independently.

The images are large noise, drawn for the purpose, so that decoding is what steps wait for. The second timing is a
stopwatch around `Trainer.fit` on the same folder, in pairs with and without the recommended settings: nothing of
verify() in it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.measuring import arguments, at_least, at_most, interleaved, ratios, report
from breedclf import Trainer
from breedclf.config import TrainingConfig
from breedclf.profiling.verify import timed_fit, verify

IMAGES = {"train": 24, "valid": 4}
SIDE_PX = 2_400
PAIRS = 5


def main() -> int:
    given = arguments(__doc__, needs_data=False)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "pictures")
        draw_images(data)
        config = TrainingConfig(
            data=data, architecture="resnet18", weights="none", epochs=2, chunk_size=4, batch_size=4, workers=0
        )
        started = time.perf_counter()
        changes = [{"workers": 1}, {"workers": 2}, {"chunk_size": 16}]
        fit_once = timed_fit(config)

        def timed_run(changed: TrainingConfig) -> float:
            taken = fit_once(changed)
            print(
                f"  workers {changed.workers}, chunks of {changed.chunk_size}: {taken:.2f} s",
                file=sys.stderr,
                flush=True,
            )
            return taken

        verification = verify(config, changes, timed_run, repeats=given.repeats)
        verifying = time.perf_counter() - started
        recommended = config.replace(**verification.recommended)

        def train(settings: TrainingConfig) -> None:
            with tempfile.TemporaryDirectory() as place:
                own = settings.replace(output=Path(place, "out"), cache_dir=Path(place, "cache"), profile="off")
                Trainer(own).fit()

        train(config)
        works = {"as it was": lambda: train(config), "recommended": lambda: train(recommended)}
        seconds = interleaved(works, PAIRS)
    independent = ratios(seconds["as it was"]["wall"], seconds["recommended"]["wall"])
    apart = abs(verification.speedup / independent["median"] - 1)
    goals = [
        at_least("speedup with the recommended settings, timed independently", independent["median"], 1.05),
        at_most("difference between verify()'s speedup and that", apart, 0.1),
    ]
    details = {
        "claim": verification.sentence,
        "independent": independent,
        "as_it_was_seconds": median(seconds["as it was"]["wall"]),
        "verifying_seconds": verifying,
        "verification": verification.model_dump(mode="json"),
        "seconds": seconds,
    }
    return report("profiling_verify", goals, details, given)


def draw_images(data: Path) -> None:
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 255, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8))
    for split, count in IMAGES.items():
        for name in ("a", "b"):
            (data / split / name).mkdir(parents=True)
            for number in range(count // 2):
                picture.save(data / split / name / f"{number}.png", compress_level=1)


if __name__ == "__main__":
    raise SystemExit(main())
