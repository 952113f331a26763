"""Rules about the machine: how busy cores, GPUs, memory and disks were."""

from __future__ import annotations

from typing import Any

import numpy as np

from breedclf.profiling.columns import FloatArray
from breedclf.profiling.profile import Profile, SeriesKind
from breedclf.profiling.rules.finding import AtLeastOne, Finding, issue, no_data, not_applicable, ok, rule
from breedclf.profiling.rules.text import count, seconds, share, size

PATIENCE = "Patience is 60 samples instead of 1,000, so that runs of half a minute are judged too."
NO_GPU = "no GPU was sampled"


@rule("CPUBottleneck", group="system", differs=PATIENCE)
def cpu_bottleneck(
    profile: Profile,
    *,
    threshold: float = 50.0,
    cpu_threshold: float = 90.0,
    gpu_threshold: float = 10.0,
    patience: AtLeastOne = 60,
) -> Finding:
    """The GPU idles while the CPU is full, for much of the time."""
    if not profile.system.of("gpu"):
        return not_applicable(NO_GPU)
    return _bottleneck(
        profile,
        "cpu",
        cpu_threshold,
        gpu_threshold,
        threshold,
        patience,
        "Move work off the CPU: more loader workers, decoding to a smaller size, the feature cache, or a machine with "
        "more cores for each GPU.",
    )


@rule("IOBottleneck", group="system", differs=PATIENCE + " Without a GPU the I/O wait decides alone.")
def io_bottleneck(
    profile: Profile,
    *,
    threshold: float = 50.0,
    io_threshold: float = 50.0,
    gpu_threshold: float = 10.0,
    patience: AtLeastOne = 60,
) -> Finding:
    """The machine waits for its disks for much of the time."""
    return _bottleneck(
        profile,
        "io_wait",
        io_threshold,
        gpu_threshold,
        threshold,
        patience,
        "Put the data on a faster disk, stream it, or keep it in memory; the feature cache reads each picture once.",
    )


def _bottleneck(
    profile: Profile, kind: SeriesKind, high: float, gpu_low: float, threshold: float, patience: int, advice: str
) -> Finding:
    name = {"cpu": "CPU", "io_wait": "I/O wait"}[kind]
    triggered, looked, idle, told = 0, 0, False, []
    for node in profile.system.nodes:
        time, value = profile.system.mean(kind, node)
        if not len(time):
            continue
        hot = value > high
        gpu_time, gpu = profile.system.mean("gpu", node)
        if len(gpu_time):
            idle = True
            hot &= np.interp(time, gpu_time, gpu) < gpu_low
        looked += len(time)
        triggered += int(hot.sum())
        told.append((node, float(hot.mean()) * 100))
    if looked < max(patience, 1):
        return no_data(f"{looked} samples of {name}; {patience} are needed", datapoints=looked)
    worst, percent = max(told, key=lambda pair: pair[1])
    condition = f"{name} above {high:g}%" + (f" with the GPU below {gpu_low:g}%" if idle else "")
    evidence = f"{condition} for {percent:.0f}% of the time on node {worst}; {threshold:g}% is the limit"
    if percent > threshold:
        return issue(evidence, advice, datapoints=looked, triggers=triggered, details={"nodes": dict(told)})
    return ok(evidence, datapoints=looked, details={"nodes": dict(told)})


@rule("LowGPUUtilization", group="system", differs=PATIENCE)
def low_gpu_utilization(
    profile: Profile,
    *,
    threshold_p95: float = 70.0,
    threshold_p5: float = 10.0,
    window: AtLeastOne = 500,
    patience: AtLeastOne = 60,
) -> Finding:
    """A GPU that is never, or only now and then, busy."""
    gpus = profile.system.of("gpu")
    if not gpus:
        return not_applicable(NO_GPU)
    points = sum(len(gpu.value) for gpu in gpus)
    if min(len(gpu.value) for gpu in gpus) < patience:
        return no_data(f"{points} samples; {patience} a GPU are needed", datapoints=points)
    low: list[str] = []
    uneven: list[str] = []
    for gpu in gpus:
        p5, p95 = np.percentile(gpu.value[-window:], [5, 95])
        text = f"{gpu.name} on node {gpu.node}: p95 {p95:.0f}%, p5 {p5:.0f}%"
        (low if p95 < threshold_p95 else uneven if p5 < threshold_p5 else []).append(text)
    if low:
        return issue(
            f"never busy: {'; '.join(low)}",
            "Use a larger batch, or a smaller GPU; find out what the GPU waits for in the shares of a step.",
            datapoints=points,
            triggers=len(low),
        )
    if uneven:
        return issue(
            f"busy in bursts: {'; '.join(uneven)}",
            "Something blocks the GPU now and then: data loading, checkpoints, or synchronisation such as loss.item().",
            datapoints=points,
            triggers=len(uneven),
        )
    return ok(f"all {count(len(gpus), 'GPU')} were busy", datapoints=points)


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
        return no_data(f"{points} samples; {patience} a GPU are needed", datapoints=points)
    rises = {f"{s.name} on node {s.node}": _rise(_settled(s.value), window) for s in series}
    worst, rise = max(rises.items(), key=lambda pair: pair[1])
    told = f"the moving average of GPU memory rose by {rise:.1f} points on {worst}; {increase:g} is the limit"
    if rise > increase:
        return issue(
            told,
            "Look for tensors that are kept with their graph, such as a running sum of the loss: take loss.item() or "
            "loss.detach(); choose a GPU with more memory if the growth is wanted.",
            datapoints=points,
            triggers=sum(r > increase for r in rises.values()),
        )
    return ok(told, datapoints=points)


@rule("HostMemoryIncrease", group="system")
def host_memory_increase(
    profile: Profile,
    *,
    increase_percent: float = 10.0,
    min_bytes: float = 100e6,
    window: AtLeastOne = 10,
    patience: AtLeastOne = 60,
) -> Finding:
    """Memory of the process that keeps growing after the start: a leak."""
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
    told = (
        f"memory of the process rose by {size(rise)} ({100 * rise / base if base else 0:.0f}%) after its first quarter"
    )
    if rise <= 0:
        told = f"memory of the process, {size(base)}, did not grow after its first quarter"
    if rise > max(min_bytes, base * increase_percent / 100) and steady:
        return issue(
            told + ", all along",
            "Look for lists that grow with every step (losses kept as tensors hold their graph), caches without a "
            "limit, "
            "and loader workers that copy a Python list: use arrays.",
            datapoints=len(value),
        )
    return ok(told, datapoints=len(value))


def _settled(value: FloatArray) -> FloatArray:
    """Without the first quarter: filling caches and allocating once are no leaks."""
    return value[len(value) // 4 :]


def _rise(value: FloatArray, window: int) -> float:
    window = max(1, min(window, len(value) // 2))
    average = np.convolve(value, np.ones(window) / window, mode="valid")
    return float(average[-1] - average[0])


def _grows_steadily(value: FloatArray) -> bool:
    """Each third of the time higher than the one before."""
    thirds = [part.mean() for part in np.array_split(value, 3)]
    return bool(thirds[0] < thirds[1] < thirds[2])


@rule("LoadBalancing", group="system", differs=PATIENCE)
def load_balancing(profile: Profile, *, threshold: float = 0.5, patience: AtLeastOne = 60) -> Finding:
    """GPUs, or the ranks of a run on several nodes, that do unequal work."""
    gpus = profile.system.of("gpu")
    if len(gpus) < 2:
        return _balanced_steps(profile, threshold)
    points = sum(len(gpu.value) for gpu in gpus)
    if min(len(gpu.value) for gpu in gpus) < patience:
        return no_data(f"{points} samples; {patience} a GPU are needed", datapoints=points)
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
    told = (
        f"the utilization of {pair} differs by {distance:.2f} (0 same, 1 nothing in common); {threshold:g} is the limit"
    )
    if distance > threshold:
        return issue(
            told,
            "Give every GPU the same share of each batch, use DistributedDataParallel instead of DataParallel, or "
            "fewer GPUs.",
            datapoints=points,
            triggers=sum(d > threshold for d, _ in pairs),
        )
    return ok(told, datapoints=points)


def _balanced_steps(profile: Profile, threshold: float) -> Finding:
    """Without GPU samples: the mean step of each rank, of the time that isn't spent waiting for the others."""
    nodes: dict[str, float] = {}
    for node, phase, mask in profile.steps.groups():
        if phase == "train":
            busy = profile.steps.parts.get("forward", profile.steps.duration)
            nodes[node] = float(busy[mask].mean())
    if len(nodes) < 2:
        return not_applicable("one GPU or none, and one node")
    slow, fast = max(nodes, key=lambda n: nodes[n]), min(nodes, key=lambda n: nodes[n])
    excess = nodes[slow] / nodes[fast] - 1 if nodes[fast] else 0.0
    told = (
        f"a step's own work takes {seconds(nodes[slow])} on {slow} and {seconds(nodes[fast])} on {fast}: "
        f"{share(excess)} more; {share(threshold)} is the limit"
    )
    if excess > threshold:
        return issue(
            told,
            f"All ranks wait for {slow}: give it a smaller share, or look for another process on it.",
            datapoints=len(profile.steps),
        )
    return ok(told, datapoints=len(profile.steps))


@rule("OverallSystemUsage", group="summary", differs="Never an issue, as AWS's.")
def overall_system_usage(profile: Profile) -> Finding:
    """How busy each part of the machine was: a table of percentiles."""
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


@rule("CoreOversubscription", group="system")
def core_oversubscription(profile: Profile, *, max_ratio: float = 2.0, min_cpu: float = 80.0) -> Finding:
    """More computing threads than cores, so that they take turns instead of working."""
    cores = sum(profile.job.cores.values())
    threads = profile.job.threads
    if not cores or threads is None:
        return no_data("the number of threads or of cores isn't known")
    computing = threads + (profile.loader.workers or 0)
    ratio = computing / cores
    told = (
        f"{computing} computing threads ({threads} in the loop, {profile.loader.workers or 0} workers) on "
        f"{count(cores, 'core')}"
    )
    _, cpu = profile.system.mean("cpu")
    busy = float(cpu.mean()) if len(cpu) else None
    told += "" if busy is None else f", which were {busy:.0f}% busy"
    if ratio > max_ratio and (busy is None or busy >= min_cpu):
        return issue(
            told,
            f"Give the loop at most {cores} threads (OMP_NUM_THREADS={cores}, or torch.set_num_threads) and leave "
            f"a core "
            "to the workers; look for other jobs on the machine.",
            datapoints=1,
        )
    return ok(told, datapoints=1)


@rule("BatchSize", group="system", differs="Patience is 60 samples instead of 1,000: short runs are judged too.")
def batch_size(
    profile: Profile,
    *,
    cpu_threshold_p95: float = 70.0,
    gpu_threshold_p95: float = 70.0,
    gpu_memory_threshold_p95: float = 70.0,
    patience: AtLeastOne = 60,
    window: AtLeastOne = 500,
) -> Finding:
    """A batch too small to keep the machine busy: CPU, GPU and GPU memory all have room."""
    if not profile.system.of("gpu"):
        return _small_batch_without_gpu(profile)
    columns = {kind: profile.system.mean(kind)[1] for kind in ("cpu", "gpu", "gpu_memory")}
    if any(len(column) < patience for column in columns.values()):
        return no_data(f"{min(map(len, columns.values()))} samples; {patience} are needed")
    p95 = {kind: float(np.percentile(column[-window:], 95)) for kind, column in columns.items()}
    told = (
        f"95% of the time CPU was at or below {p95['cpu']:.0f}%, GPU {p95['gpu']:.0f}%, GPU memory "
        f"{p95['gpu_memory']:.0f}%"
    )
    size = profile.loader.batch_size
    points = min(map(len, columns.values()))
    if (
        p95["cpu"] < cpu_threshold_p95
        and p95["gpu"] < gpu_threshold_p95
        and p95["gpu_memory"] < gpu_memory_threshold_p95
    ):
        return issue(
            told,
            "Use a larger batch (and raise the learning rate with it), or a smaller machine.",
            datapoints=points,
            changes={"batch_size": size * 2} if size else {},
            details=p95,
        )
    return ok(told, datapoints=points, details=p95)


def _small_batch_without_gpu(profile: Profile) -> Finding:
    """On a CPU the sign is a step that is mostly neither loading nor computing."""
    parts = profile.steps.parts
    if not {"forward", "optimizer"} <= set(parts):
        return not_applicable("no GPU was sampled, and the parts of a step weren't timed")
    mask = profile.steps.steady & profile.steps.of("train")
    if mask.sum() < 10:
        return no_data(f"{int(mask.sum())} training steps; 10 are needed", datapoints=int(mask.sum()))
    total = float(profile.steps.duration[mask].sum())
    computing = sum(float(parts[name][mask].sum()) for name in ("forward", "backward") if name in parts)
    waited = float(parts["data_wait"][mask].sum()) if "data_wait" in parts else 0.0
    fixed = max(0.0, total - computing - waited) / total if total else 0.0
    size = profile.loader.batch_size
    told = (
        f"{share(fixed)} of a training step is neither waiting for data nor computing gradients (optimizer, "
        f"bookkeeping)"
    )
    told += f", at batch size {size}" if size else ""
    if fixed > 0.5 and size is not None and size < 32:
        return issue(
            told,
            f"Use a larger batch, for instance {size * 4}, and raise the learning rate with it: the fixed cost of "
            f"a step "
            "is then shared by more pictures.",
            datapoints=int(mask.sum()),
            changes={"batch_size": size * 4},
            details={"fixed_share": fixed},
        )
    return ok(told, datapoints=int(mask.sum()), details={"fixed_share": fixed})
