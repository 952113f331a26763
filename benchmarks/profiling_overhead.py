"""What the always-on recorder costs: a step on cached features, and a step through the whole network; paired runs.

Cached: the head is trained with and without the recorder (timers and samples), in turns; the difference a step is told.
Uncached: pictures go through the frozen part with and without it. A machine's own noise is larger than 1%, so that the
best run of each side is compared, and the cost worked out from its parts (timer calls, samples) stands beside it.
The last figure: how much of an epoch's wall time the parts of its steps leave out.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_most, interleaved, report
from breedclf.config import TrainingConfig
from breedclf.learning.device import compute_for
from breedclf.learning.features import FeatureExtractor, StoredFeatures
from breedclf.learning.loop import Callbacks, train_head
from breedclf.learning.model import frozen_backbone
from breedclf.learning.timing import NO_TIMER, StepTimer
from breedclf.learning.weights import backbone_state, preprocessing_for
from breedclf.profiling.recorder import Recorder

ROWS, FEATURES, CLASSES, BATCH, EPOCHS = 2_048, 512, 133, 32, 4
PICTURES = 32
STEPS = EPOCHS * 2 * ROWS // BATCH  # training and validation


def main() -> int:
    given = arguments(__doc__, repeats=9)
    source = StoredFeatures(torch.randn(ROWS, FEATURES), torch.randint(0, CLASSES, (ROWS,)))
    config = TrainingConfig(data=Path(), epochs=EPOCHS, batch_size=BATCH)
    accounted: list[float] = []

    def head(timer: StepTimer) -> None:
        train_head(
            [source],
            source,
            config,
            classes=CLASSES,
            features=FEATURES,
            device=torch.device("cpu"),
            callbacks=Callbacks(timer=timer),
        )

    def head_recorded() -> None:
        with Recorder(keep=False) as recorder:
            head(recorder.steps)
        steps = recorder.profile().steps
        train = steps.of("train")
        parts = sum(float(column[train].sum()) for column in steps.parts.values())
        accounted.append(abs(1 - parts / recorder.profile().spans.seconds("epoch")))

    compute = compute_for("auto", "auto")
    state = backbone_state("resnet50", str(WEIGHTS))
    extractor = FeatureExtractor(
        make_backbone=lambda: frozen_backbone("resnet50", state, compute),
        preprocessing=preprocessing_for("resnet50", str(WEIGHTS)),
        compute=compute,
        weights_fingerprint="",
        chunk_size=BATCH,
        workers=0,
    )
    paths = sorted((DATA / "hymenoptera").rglob("*.jpg"))[:PICTURES]

    def frozen_recorded() -> None:
        with Recorder(keep=False) as recorder:
            replace(extractor, timer=recorder.steps).extract(paths)

    works = {
        "cached": lambda: head(NO_TIMER),
        "cached, recorded": head_recorded,
        "uncached": lambda: extractor.extract(paths),
        "uncached, recorded": frozen_recorded,
    }
    for work in works.values():
        work()
    seconds = interleaved(works, given.repeats)
    best = {name: min(taken["wall"]) for name, taken in seconds.items()}
    cached = best["cached, recorded"] - best["cached"]
    uncached = best["uncached, recorded"] / best["uncached"] - 1
    per_step = _timer_seconds()
    sampler = _sampler_share()
    step_seconds = best["uncached"] / (PICTURES / BATCH)
    goals = [
        at_most("microseconds a step on cached features, best of paired runs", 1e6 * cached / STEPS, 10),
        at_most("share of an uncached step, from its parts", per_step / step_seconds + sampler, 0.01),
        at_most("share of an uncached step, best of paired runs", uncached, 0.01),
        at_most("share of an epoch that the parts leave out", statistics.median(accounted), 0.02),
    ]
    details = {
        "timer_microseconds_per_step": 1e6 * per_step,
        "sampler_share_of_a_core": sampler,
        "uncached_step_seconds": step_seconds,
        "seconds": seconds,
    }
    return report("profiling_overhead", goals, details, given)


def _timer_seconds(steps: int = 20_000) -> float:
    with Recorder(keep=False) as recorder:
        timer = recorder.steps
        timer.phase("features")
        started = time.perf_counter()
        for _ in range(steps):
            timer.lap("data_wait")
            timer.loading(32, 0.0, 0.0, 0.0)
            timer.lap("to_device")
            timer.lap("forward")
            timer.step(32)
        return (time.perf_counter() - started) / steps


def _sampler_share(seconds: float = 5.0) -> float:
    """CPU time of the sampling thread a second, where nothing else runs."""
    with Recorder(keep=False):
        started = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - started) / seconds


if __name__ == "__main__":
    raise SystemExit(main())
