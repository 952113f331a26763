"""What the always-on recorder costs: a step on cached features, and a step through the whole network; paired runs.

Cached: the head is trained with and without the recorder (timers and samples of the machine) in turns, in many
short runs. Uncached: pictures go through the frozen part with and without it. What starting and ending a recording
costs, once a run, is told apart. Each pair of neighbouring runs gives one difference; what is told is their median
with its 95% interval, from resampling the pairs. An interval that holds 0 can't tell the cost from none: then only
its upper end says something. The last figure: how much of an epoch's time the parts of its steps leave out.
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
from breedclf.models.weights import backbone_state, preprocessing_for
from breedclf.profiling.recorder import Recorder
from breedclf.runtime.device import compute_for
from breedclf.runtime.timers import NO_TIMER, StepTimer
from breedclf.training.loop import Callbacks, TrainingTask, train

ROWS, FEATURES, CLASSES, BATCH, EPOCHS = 2_048, 512, 133, 32, 8
PICTURES, CHUNK = 8, 8
CACHED_STEPS = EPOCHS * 2 * ROWS // BATCH  # training and validation
UNCACHED_STEPS = PICTURES // CHUNK
Work = Callable[[], float]  # does something and says how long it took


def main() -> int:
    given = arguments(__doc__, repeats=100)
    accounted: list[float] = []
    cached = paired(*cached_works(accounted), pairs=given.repeats)
    uncached = paired(*uncached_works(), pairs=given.repeats)
    per_step = difference(cached, 1e6 / CACHED_STEPS)
    share = difference(uncached, 1 / statistics.median(uncached["without"]))
    goals = [
        at_most(f"microseconds a step on cached features, at most ({told(per_step)})", per_step["high"], 10),
        at_most(f"share of an uncached step, at most ({told(share)})", share["high"], 0.01),
        at_most("share of an epoch's time that the parts of its steps leave out", statistics.median(accounted), 0.02),
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
    """Seconds of both, run in turns; which goes first changes from pair to pair."""
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    works = (("without", without), ("with", with_it))
    for _, work in works:
        work()
    gc.collect()
    gc.disable()  # a collection that falls into one run of a pair would count as its cost
    for pair in range(pairs):
        for name, work in works if pair % 2 == 0 else reversed(works):
            seconds[name].append(work())
        gc.collect()
    gc.enable()
    return seconds


def difference(seconds: dict[str, list[float]], scale: float) -> dict[str, Any]:
    """Median of the differences of pairs, and its 95% interval from 10,000 resamples."""
    each = scale * (np.array(seconds["with"]) - np.array(seconds["without"]))
    drawn = np.random.default_rng(0).integers(0, len(each), (10_000, len(each)))
    low, high = np.percentile(np.median(each[drawn], axis=1), [2.5, 97.5])
    return {"median": float(np.median(each)), "low": float(low), "high": float(high), "pairs": len(each)}


def told(found: dict[str, Any]) -> str:
    """The difference in words.

    Example:
        >>> told({"median": 1.0, "low": -1.0, "high": 3.0, "pairs": 9})
        'not distinguishable from 0 over 9 pairs: 1 in the median, interval -1 to 3'
    """
    start = "not distinguishable from 0" if found["low"] <= 0 <= found["high"] else "measured"
    interval = f"interval {found['low']:.3g} to {found['high']:.3g}"
    return f"{start} over {found['pairs']} pairs: {found['median']:.3g} in the median, {interval}"


def cached_works(accounted: list[float]) -> tuple[Work, Work]:
    """The head's training, without and with the recorder; the latter adds the share of epochs that parts leave out."""
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
    """Photographs through a ResNet-50's frozen part, without and with the recorder."""
    compute = compute_for("auto", "auto")
    state = backbone_state("resnet50", str(WEIGHTS))
    backbone = frozen_backbone("resnet50", state, compute)
    extractor = FeatureExtractor(
        make_backbone=lambda: backbone,
        preprocessing=preprocessing_for("resnet50", str(WEIGHTS)),
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
    """What a recording costs once a run, however long it is."""
    return statistics.median(timed(_empty_recording) for _ in range(repeats))


def _empty_recording() -> None:
    with Recorder(keep=False):
        pass


def timer_seconds(steps: int = 20_000) -> float:
    """What the calls of one step take, apart from everything else."""
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
    """CPU time of the sampling thread a second, where nothing else runs."""
    with Recorder(keep=False):
        started = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - started) / seconds


if __name__ == "__main__":
    raise SystemExit(main())
