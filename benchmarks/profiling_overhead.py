"""Overhead of the profile recorder per step, on cached features and through the whole network, in paired runs.

Cached: the head is trained with and without the recorder (timers and machine samples) alternately, in many short runs.
Uncached: images pass through the frozen backbone with and without it. The fixed cost of a recording is reported
separately. Each pair of consecutive runs gives one difference; their median is reported with its 95% interval, from
bootstrap samples of the pairs. If the interval contains 0, the cost can't be distinguished from none, and only the
upper bound is meaningful. The last figure is the share of an epoch's time that the parts of its steps don't cover.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_most, report
from breedclf.config import TrainingConfig
from breedclf.features.extraction import FeatureExtractor, StoredFeatures
from breedclf.models.head import MOMENTS_BATCH, Scaling, new_head
from breedclf.models.network import frozen_backbone
from breedclf.models.weights import load_pretrained
from breedclf.profiling.recorder import Recorder
from breedclf.runtime.device import compute_for
from breedclf.runtime.timers import NO_TIMER, StepTimer
from breedclf.training.loop import Callbacks, train
from breedclf.training.task import TrainingTask

ROWS, FEATURES, CLASSES, BATCH, EPOCHS = 2_048, 512, 133, 32, 8
PICTURES, CHUNK = 8, 8
CACHED_STEPS = EPOCHS * 2 * ROWS // BATCH  # training and validation
UNCACHED_STEPS = PICTURES // CHUNK
Work = Callable[[], float]  # runs something and returns its seconds


def main() -> int:
    given = arguments(__doc__, repeats=100, quick_repeats=5)
    accounted: list[float] = []
    cached = paired(*cached_works(accounted), pairs=given.repeats)
    uncached = paired(*uncached_works(), pairs=given.repeats)
    per_step = difference(cached, 1e6 / CACHED_STEPS)
    share = difference(uncached, 1 / statistics.median(uncached["without"]))
    goals = [
        at_most(
            f"upper bound of microseconds per step on cached features ({interval_text(per_step)})", per_step["high"], 10
        ),
        at_most(f"upper bound of the share of an uncached step ({interval_text(share)})", share["high"], 0.01),
        at_most("share of an epoch's time not covered by the parts of its steps", statistics.median(accounted), 0.02),
    ]
    details = {
        "cached_step_microseconds": 1e6 * statistics.median(cached["without"]) / CACHED_STEPS,
        "cached_microseconds_per_step": per_step,
        "uncached_step_seconds": statistics.median(uncached["without"]) / UNCACHED_STEPS,
        "uncached_share": share,
        "timer_microseconds_per_step": 1e6 * timer_seconds(),
        "sampler_share_of_a_core": sampler_share(),
        "start_and_end_milliseconds_per_run": 1e3 * start_and_end_seconds(),
        "seconds": {"cached": cached, "uncached": uncached},
    }
    return report("profiling_overhead", goals, details, given)


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def paired(without: Work, with_it: Work, *, pairs: int) -> dict[str, list[float]]:
    """Seconds of both, run alternately; the order changes from pair to pair."""
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    works = (("without", without), ("with", with_it))
    for _, work in works:
        work()
    gc.collect()
    gc.disable()  # a garbage collection in one run of a pair would distort the difference
    for pair in range(pairs):
        for name, work in works if pair % 2 == 0 else reversed(works):
            seconds[name].append(work())
        gc.collect()
    gc.enable()
    return seconds


def difference(seconds: dict[str, list[float]], scale: float) -> dict[str, Any]:
    """Median of the pairs' differences, with its 95% interval from 10,000 bootstrap samples."""
    each = scale * (np.array(seconds["with"]) - np.array(seconds["without"]))
    drawn = np.random.default_rng(0).integers(0, len(each), (10_000, len(each)))
    low, high = np.percentile(np.median(each[drawn], axis=1), [2.5, 97.5])
    return {"median": float(np.median(each)), "low": float(low), "high": float(high), "pairs": len(each)}


def interval_text(found: dict[str, Any]) -> str:
    """Describe the difference.

    Example:
        >>> interval_text({"median": 1.0, "low": -1.0, "high": 3.0, "pairs": 9})
        'not distinguishable from 0 over 9 pairs: 1 in the median, interval -1 to 3'
    """
    start = "not distinguishable from 0" if found["low"] <= 0 <= found["high"] else "measured"
    interval = f"interval {found['low']:.3g} to {found['high']:.3g}"
    return f"{start} over {found['pairs']} pairs: {found['median']:.3g} in the median, {interval}"


def cached_works(accounted: list[float]) -> tuple[Work, Work]:
    """Training of the head without and with the recorder; the latter appends the share of time not covered by parts."""
    source = StoredFeatures(torch.randn(ROWS, FEATURES), torch.randint(0, CLASSES, (ROWS,)))
    config = TrainingConfig(data=Path(), epochs=EPOCHS, batch_size=BATCH)

    def head(timer: StepTimer) -> None:
        layer = new_head(FEATURES, CLASSES, config)
        layer.use(Scaling.of(source, MOMENTS_BATCH))
        train(TrainingTask(layer, lambda _: source, source), config, callbacks=Callbacks(timer=timer))

    def recorded() -> float:
        with Recorder(keep=False) as recorder:
            seconds = timed(lambda: head(recorder.steps))
        steps, spans = recorder.steps.steps(0.0), recorder.steps.spans(0.0)
        parts = sum(float(column[steps.of("train")].sum()) for column in steps.parts.values())
        accounted.append(abs(1 - parts / spans.seconds("epoch")))
        return seconds

    return lambda: timed(lambda: head(NO_TIMER)), recorded


def uncached_works() -> tuple[Work, Work]:
    """A pass through a frozen ResNet-50 without and with the recorder."""
    compute = compute_for("auto", "auto")
    pretrained = load_pretrained("resnet50", str(WEIGHTS))
    backbone = frozen_backbone("resnet50", pretrained.state, compute)
    extractor = FeatureExtractor(
        make_backbone=lambda: backbone,
        preprocessing=pretrained.preprocessing,
        compute=compute,
        weights_fingerprint="",
        chunk_size=CHUNK,
        workers=0,
    )
    paths = sorted((DATA / "hymenoptera").rglob("*.jpg"))[:PICTURES]

    def recorded() -> float:
        with Recorder(keep=False) as recorder:
            return timed(lambda: replace(extractor, timer=recorder.steps).extract(paths))

    return lambda: timed(lambda: replace(extractor).extract(paths)), recorded


def start_and_end_seconds(repeats: int = 20) -> float:
    """The fixed cost of a recording, independent of the run's length."""
    return statistics.median(timed(_empty_recording) for _ in range(repeats))


def _empty_recording() -> None:
    with Recorder(keep=False):
        pass


def timer_seconds(steps: int = 20_000) -> float:
    """Seconds of the timer calls of one step."""
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


def sampler_share(seconds: float = 5.0) -> float:
    """CPU time of the sampling thread per second."""
    with Recorder(keep=False):
        started = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - started) / seconds


if __name__ == "__main__":
    raise SystemExit(main())
