"""Rules about the size of the work relative to the machine: threads per core, images per batch."""

from __future__ import annotations

import numpy as np

from breedclf.profiling.profile import Profile
from breedclf.profiling.rules.finding import AtLeastOne, Finding, issue, no_data, not_applicable, ok, rule
from breedclf.profiling.rules.system import PATIENCE
from breedclf.profiling.rules.text import count, share


@rule("CoreOversubscription", group="system")
def core_oversubscription(profile: Profile, *, max_ratio: float = 2.0, min_cpu: float = 80.0) -> Finding:
    """More compute threads than cores, so that threads wait for each other."""
    cores = sum(profile.job.cores.values())
    threads = profile.job.threads
    if not cores or threads is None:
        return no_data("the number of threads or cores isn't known")
    computing = threads + (profile.loader.workers or 0)
    ratio = computing / cores
    evidence = (
        f"{computing} compute threads ({threads} in the loop, {profile.loader.workers or 0} workers) on "
        f"{count(cores, 'core')}"
    )
    _, cpu = profile.system.mean("cpu")
    busy = float(cpu.mean()) if len(cpu) else None
    evidence += "" if busy is None else f", which were {busy:.0f}% busy"
    if ratio > max_ratio and (busy is None or busy >= min_cpu):
        return issue(
            evidence,
            f"Use at most {cores} threads in the loop (OMP_NUM_THREADS={cores}, or torch.set_num_threads), minus one "
            "for the workers; look for other jobs on the machine.",
            datapoints=1,
        )
    return ok(evidence, datapoints=1)


@rule("BatchSize", group="system", differs=PATIENCE)
def batch_size(
    profile: Profile,
    *,
    cpu_threshold_p95: float = 70.0,
    gpu_threshold_p95: float = 70.0,
    gpu_memory_threshold_p95: float = 70.0,
    patience: AtLeastOne = 60,
    window: AtLeastOne = 500,
) -> Finding:
    """A batch too small to use the machine: CPU, GPU and GPU memory are not fully used."""
    if not profile.system.of("gpu"):
        return _small_batch_without_gpu(profile)
    columns = {kind: profile.system.mean(kind)[1] for kind in ("cpu", "gpu", "gpu_memory")}
    if any(len(column) < patience for column in columns.values()):
        return no_data(f"{min(map(len, columns.values()))} samples; {patience} are needed")
    p95 = {kind: float(np.percentile(column[-window:], 95)) for kind, column in columns.items()}
    evidence = (
        f"95% of the time, the CPU was at or below {p95['cpu']:.0f}%, the GPU at {p95['gpu']:.0f}%, GPU memory at "
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
            evidence,
            "Use a larger batch (and raise the learning rate with it), or a smaller machine.",
            datapoints=points,
            changes={"batch_size": size * 2} if size else {},
            details=p95,
        )
    return ok(evidence, datapoints=points, details=p95)


def _small_batch_without_gpu(profile: Profile) -> Finding:
    """On a CPU, the sign is that a step spends most of its time neither loading nor computing."""
    parts = profile.steps.parts
    if not {"forward", "optimizer"} <= set(parts):
        return not_applicable("no GPU was sampled, and the parts of steps weren't timed")
    mask = profile.steps.steady & profile.steps.of("train")
    if mask.sum() < 10:
        return no_data(f"{int(mask.sum())} training steps; 10 are needed", datapoints=int(mask.sum()))
    total = float(profile.steps.duration[mask].sum())
    computing = sum(float(parts[name][mask].sum()) for name in ("forward", "backward") if name in parts)
    waited = float(parts["data_wait"][mask].sum()) if "data_wait" in parts else 0.0
    fixed = max(0.0, total - computing - waited) / total if total else 0.0
    size = profile.loader.batch_size
    evidence = (
        f"{share(fixed)} of a training step is neither waiting for data nor computing gradients, but overhead such as "
        "the optimizer"
    )
    evidence += f", at batch size {size}" if size else ""
    if fixed > 0.5 and size is not None and size < 32:
        return issue(
            evidence,
            f"Use a larger batch, for instance {size * 4}, and raise the learning rate with it: the fixed cost of a "
            "step is then shared by more images.",
            datapoints=int(mask.sum()),
            changes={"batch_size": size * 4},
            details={"fixed_share": fixed},
        )
    return ok(evidence, datapoints=int(mask.sum()), details={"fixed_share": fixed})
