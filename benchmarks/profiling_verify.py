"""Whether tried advice holds: a run with slow decoding and no workers is verified, then timed again on its own.

The pictures are large noise, drawn for the purpose, so that decoding is what steps wait for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import arguments, at_least, at_most, interleaved, report
from breedclf.config import TrainingConfig
from breedclf.profiling.verify import timed_fit, verify

PICTURES = {"train": 32, "valid": 4}
SIDE_PX = 3_000


def main() -> int:
    given = arguments(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        draw_pictures(data)
        config = TrainingConfig(
            data=data, architecture="resnet18", weights="none", epochs=2, chunk_size=4, batch_size=4, workers=0
        )
        run = timed_fit(config)
        run(config)
        verification = verify(config, [{"workers": 1}, {"workers": 2}, {"chunk_size": 16}], run, repeats=given.repeats)
        recommended = config.replace(**verification.recommended)
        again = timed_fit(config)
        seconds = interleaved({"as it was": lambda: again(config), "recommended": lambda: again(recommended)}, 5)
    before, after = (float(np.median(seconds[name]["wall"])) for name in ("as it was", "recommended"))
    claimed = max((trial.speedup for trial in verification.trials if trial.kept), default=1.0)
    goals = [
        at_least("speed-up of the recommended settings, timed on its own", before / after, 1.05),
        at_most("difference of the claimed speed-up from that", abs(claimed / (before / after) - 1), 0.1),
    ]
    details = {"verification": verification.model_dump(mode="json"), "seconds": seconds}
    return report("profiling_verify", goals, details, given)


def draw_pictures(data: Path) -> None:
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 255, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8))
    for split, count in PICTURES.items():
        for name in ("a", "b"):
            (data / split / name).mkdir(parents=True)
            for number in range(count // 2):
                picture.save(data / split / name / f"{number}.png", compress_level=1)


if __name__ == "__main__":
    raise SystemExit(main())
