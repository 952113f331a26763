"""Rules about memory that keeps growing, on GPUs and in the process."""

from __future__ import annotations

import numpy as np

from breedclf.profiling.columns import FloatArray
from breedclf.profiling.profile import Profile
from breedclf.profiling.rules.finding import AtLeastOne, Finding, issue, no_data, not_applicable, ok, rule
from breedclf.profiling.rules.system import NO_GPU, PATIENCE
from breedclf.profiling.rules.text import size


@rule("GPUMemoryIncrease", group="system", differs=PATIENCE)
def gpu_memory_increase(
    profile: Profile, *, increase: float = 5.0, patience: AtLeastOne = 60, window: AtLeastOne = 10
) -> Finding:
    """GPU memory that keeps growing."""
    series = profile.system.of("gpu_memory")
    if not series:
        return not_applicable(NO_GPU)
    points = sum(len(s.value) for s in series)
    if min(len(s.value) for s in series) < max(patience, 2 * window):
        return no_data(f"{points} samples; {patience} per GPU are needed", datapoints=points)
    rises = {f"{s.name} on node {s.node}": _rise(_settled(s.value), window) for s in series}
    worst, rise = max(rises.items(), key=lambda pair: pair[1])
    evidence = (
        f"the moving average of GPU memory rose by {rise:.1f} percentage points on {worst}; the limit is {increase:g}"
    )
    if rise > increase:
        return issue(
            evidence,
            "Look for tensors that are kept with their graph, such as a running sum of the loss: use loss.item() or "
            "loss.detach(); use a GPU with more memory if the growth is intended.",
            datapoints=points,
            triggers=sum(r > increase for r in rises.values()),
        )
    return ok(evidence, datapoints=points)


@rule("HostMemoryIncrease", group="system")
def host_memory_increase(
    profile: Profile,
    *,
    increase_percent: float = 10.0,
    min_bytes: float = 100e6,
    window: AtLeastOne = 10,
    patience: AtLeastOne = 60,
) -> Finding:
    """Memory of the process that keeps growing: a leak."""
    series = profile.system.of("process_memory")
    if not series:
        return no_data("the memory of the process wasn't sampled")
    value = max(series, key=lambda s: len(s.value)).value
    if len(value) < max(patience, 2 * window):
        return no_data(f"{len(value)} samples; {patience} are needed", datapoints=len(value))
    later = _settled(value)
    rise = _rise(later, window)
    steady = _grows_steadily(later)
    base = float(later[:window].mean())
    evidence = (
        f"memory of the process rose by {size(rise)} ({100 * rise / base if base else 0:.0f}%) after its first quarter"
    )
    if rise <= 0:
        evidence = f"memory of the process, {size(base)}, did not grow after its first quarter"
    if rise > max(min_bytes, base * increase_percent / 100) and steady:
        return issue(
            evidence + ", steadily",
            "Look for lists that grow with every step (losses kept as tensors keep their graph), caches without a "
            "limit, and DataLoader workers that copy Python lists: use arrays.",
            datapoints=len(value),
        )
    return ok(evidence, datapoints=len(value))


def _settled(value: FloatArray) -> FloatArray:
    """Drop the first quarter, in which caches fill and memory is allocated once."""
    return value[len(value) // 4 :]


def _rise(value: FloatArray, window: int) -> float:
    window = max(1, min(window, len(value) // 2))
    average = np.convolve(value, np.ones(window) / window, mode="valid")
    return float(average[-1] - average[0])


def _grows_steadily(value: FloatArray) -> bool:
    """Whether the mean rises in each third of the time."""
    thirds = [part.mean() for part in np.array_split(value, 3)]
    return bool(thirds[0] < thirds[1] < thirds[2])
