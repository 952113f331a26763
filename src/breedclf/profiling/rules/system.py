"""Rules about machine usage: bottlenecks of CPU and disks, GPU utilization, balance between GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from breedclf.profiling.profile import Profile, SeriesKind
from breedclf.profiling.rules.finding import AtLeastOne, Finding, issue, no_data, not_applicable, ok, rule
from breedclf.profiling.rules.text import count, seconds, share

PATIENCE = "Patience is 60 samples instead of 1,000, so that runs of half a minute can be judged."
NO_GPU = "no GPU was sampled"


@dataclass(frozen=True)
class _Bottleneck:
    """A resource that may keep the GPU waiting: its samples, and what to do about it."""

    kind: SeriesKind
    name: str
    advice: str


_CPU = _Bottleneck(
    "cpu",
    "CPU",
    "Move work off the CPU: more DataLoader workers, decoding to a smaller size, the feature cache, or a machine with "
    "more cores per GPU.",
)
_DISKS = _Bottleneck(
    "io_wait",
    "I/O wait",
    "Put the data on a faster disk, stream it, or keep it in memory; the feature cache reads each image once.",
)


@rule("CPUBottleneck", group="system", differs=PATIENCE)
def cpu_bottleneck(
    profile: Profile,
    *,
    threshold: float = 50.0,
    cpu_threshold: float = 90.0,
    gpu_threshold: float = 10.0,
    patience: AtLeastOne = 60,
) -> Finding:
    """The GPU is idle while the CPU is busy, for much of the time."""
    if not profile.system.of("gpu"):
        return not_applicable(NO_GPU)
    return _bottleneck(profile, _CPU, cpu_threshold, gpu_threshold, threshold, patience)


@rule("IOBottleneck", group="system", differs=PATIENCE + " Without a GPU, I/O wait alone decides.")
def io_bottleneck(
    profile: Profile,
    *,
    threshold: float = 50.0,
    io_threshold: float = 50.0,
    gpu_threshold: float = 10.0,
    patience: AtLeastOne = 60,
) -> Finding:
    """The machine waits for its disks for much of the time."""
    return _bottleneck(profile, _DISKS, io_threshold, gpu_threshold, threshold, patience)


def _bottleneck(
    profile: Profile, resource: _Bottleneck, high: float, gpu_low: float, threshold: float, patience: int
) -> Finding:
    triggered, points, gpu_sampled = 0, 0, False
    percents: dict[str, float] = {}
    for node in profile.system.nodes:
        time, value = profile.system.mean(resource.kind, node)
        if not len(time):
            continue
        hot = value > high
        gpu_time, gpu = profile.system.mean("gpu", node)
        if len(gpu_time):
            gpu_sampled = True
            hot &= np.interp(time, gpu_time, gpu) < gpu_low
        points += len(time)
        triggered += int(hot.sum())
        percents[node] = float(hot.mean()) * 100
    if points < max(patience, 1):
        return no_data(f"{points} samples of {resource.name}; {patience} are needed", datapoints=points)
    worst = max(percents, key=lambda node: percents[node])
    condition = f"{resource.name} above {high:g}%" + (f" with the GPU below {gpu_low:g}%" if gpu_sampled else "")
    evidence = f"{condition} for {percents[worst]:.0f}% of the time on node {worst}; the limit is {threshold:g}%"
    if percents[worst] > threshold:
        return issue(evidence, resource.advice, datapoints=points, triggers=triggered, details={"nodes": percents})
    return ok(evidence, datapoints=points, details={"nodes": percents})


@rule("LowGPUUtilization", group="system", differs=PATIENCE)
def low_gpu_utilization(
    profile: Profile,
    *,
    threshold_p95: float = 70.0,
    threshold_p5: float = 10.0,
    window: AtLeastOne = 500,
    patience: AtLeastOne = 60,
) -> Finding:
    """A GPU that is rarely busy, or only in bursts."""
    gpus = profile.system.of("gpu")
    if not gpus:
        return not_applicable(NO_GPU)
    points = sum(len(gpu.value) for gpu in gpus)
    if min(len(gpu.value) for gpu in gpus) < patience:
        return no_data(f"{points} samples; {patience} per GPU are needed", datapoints=points)
    low: list[str] = []
    uneven: list[str] = []
    for gpu in gpus:
        p5, p95 = np.percentile(gpu.value[-window:], [5, 95])
        text = f"{gpu.name} on node {gpu.node}: p95 {p95:.0f}%, p5 {p5:.0f}%"
        (low if p95 < threshold_p95 else uneven if p5 < threshold_p5 else []).append(text)
    if low:
        return issue(
            f"never busy: {'; '.join(low)}",
            "Use a larger batch or a smaller GPU; the parts of a step show what the GPU waits for.",
            datapoints=points,
            triggers=len(low),
        )
    if uneven:
        return issue(
            f"busy in bursts: {'; '.join(uneven)}",
            "Something blocks the GPU at intervals: data loading, checkpoints, or synchronization such as loss.item().",
            datapoints=points,
            triggers=len(uneven),
        )
    return ok(f"{count(len(gpus), 'GPU')} busy", datapoints=points)


@rule("LoadBalancing", group="system", differs=PATIENCE)
def load_balancing(profile: Profile, *, threshold: float = 0.5, patience: AtLeastOne = 60) -> Finding:
    """Unequal work of GPUs, or of ranks of a run on several nodes."""
    gpus = profile.system.of("gpu")
    if len(gpus) < 2:
        return _balanced_steps(profile, threshold)
    points = sum(len(gpu.value) for gpu in gpus)
    if min(len(gpu.value) for gpu in gpus) < patience:
        return no_data(f"{points} samples; {patience} per GPU are needed", datapoints=points)
    shapes = [np.histogram(gpu.value, bins=10, range=(0, 100))[0] / len(gpu.value) for gpu in gpus]
    pairs = [
        (
            float(np.abs(shapes[i] - shapes[j]).sum() / 2),
            f"{gpus[i].name} on {gpus[i].node} and {gpus[j].name} on {gpus[j].node}",
        )
        for i in range(len(gpus))
        for j in range(i)
    ]
    distance, pair = max(pairs)
    evidence = f"the utilization of {pair} differs by {distance:.2f} (0 equal, 1 disjoint); the limit is {threshold:g}"
    if distance > threshold:
        return issue(
            evidence,
            "Give every GPU the same share of each batch, use DistributedDataParallel instead of DataParallel, or use "
            "fewer GPUs.",
            datapoints=points,
            triggers=sum(d > threshold for d, _ in pairs),
        )
    return ok(evidence, datapoints=points)


def _balanced_steps(profile: Profile, threshold: float) -> Finding:
    """Without GPU samples: compare the mean compute time of a step between ranks, without waiting for each other."""
    nodes: dict[str, float] = {}
    for node, phase, mask in profile.steps.groups():
        if phase == "train":
            busy = profile.steps.parts.get("forward", profile.steps.duration)
            nodes[node] = float(busy[mask].mean())
    if len(nodes) < 2:
        return not_applicable("at most one GPU, and one node")
    slow, fast = max(nodes, key=lambda n: nodes[n]), min(nodes, key=lambda n: nodes[n])
    excess = nodes[slow] / nodes[fast] - 1 if nodes[fast] else 0.0
    evidence = (
        f"the compute time of a step is {seconds(nodes[slow])} on {slow} and {seconds(nodes[fast])} on {fast}: "
        f"{share(excess)} more; the limit is {share(threshold)}"
    )
    if excess > threshold:
        return issue(
            evidence,
            f"All ranks wait for {slow}: give it a smaller share of the batch, or look for other processes on it.",
            datapoints=len(profile.steps),
        )
    return ok(evidence, datapoints=len(profile.steps))


@rule("OverallSystemUsage", group="summary", differs="Never an issue, as in AWS's rule.")
def overall_system_usage(profile: Profile) -> Finding:
    """Usage of each part of the machine, as percentiles."""
    rows: list[dict[str, Any]] = []
    kinds: list[SeriesKind] = ["cpu", "memory", "gpu", "gpu_memory", "io_wait", "disk_read", "disk_write", "network"]
    kinds += ["process_memory", "loader_workers"]
    for node in profile.system.nodes:
        for kind in kinds:
            _, value = profile.system.mean(kind, node)
            if len(value):
                high, p99, p95, p50, low = np.percentile(value, [100, 99, 95, 50, 0]).tolist()
                rows.append({"node": node, "kind": kind, "max": high, "p99": p99, "p95": p95, "p50": p50, "min": low})
    if not rows:
        return no_data("the machine wasn't sampled")
    points = sum(len(series.value) for series in profile.system.series)
    cpu = [
        f"{row['node']}: CPU median {row['p50']:.0f}%, p95 {row['p95']:.0f}%" for row in rows if row["kind"] == "cpu"
    ]
    return ok("; ".join(cpu) or f"{points:,} samples", datapoints=points, details={"usage": rows})
