"""Figures shared by several report sections, computed from a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breedclf.profiling.columns import IntArray
from breedclf.profiling.profile import PARTS, Operator, Profile, SeriesKind

PART_NAMES = {
    "data_wait": "waiting for data",
    "to_device": "copying to the device",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer",
    "other": "other",
}


@dataclass(frozen=True)
class PartShare:
    """One part of the steps of a phase: total seconds, and its share of the phase (0 to 1)."""

    name: str
    seconds: float
    share: float


def phase_seconds(profile: Profile) -> dict[str, float]:
    """Time spent in steps, in seconds, by phase."""
    return {phase: float(profile.steps.duration[profile.steps.of(phase)].sum()) for phase in profile.steps.phases}


def parts_of(profile: Profile, phase: str) -> list[PartShare]:
    """The parts of a phase's steps; time that wasn't assigned is `other`. Empty if no part was timed."""
    steps = profile.steps
    mask = steps.of(phase)
    total = float(steps.duration[mask].sum())
    timed = {name: float(np.nansum(steps.parts[name][mask])) for name in PARTS if name in steps.parts}
    if not timed or total <= 0:
        return []
    timed["other"] = max(0.0, total - sum(timed.values()))
    return [PartShare(PART_NAMES[name], value, value / total) for name, value in timed.items() if value > 0]


def aws_shares(operators: Sequence[Operator]) -> dict[str, float]:
    """The operator shares of AWS's report: total time, including nested calls, over the sum of total times.

    Nested operators count several times, so these are not real shares; reports list them for comparison with AWS's.
    """
    total = sum(operator.inclusive_seconds for operator in operators)
    return {operator.name: operator.inclusive_seconds / total if total else 0.0 for operator in operators}


def flops_share(profile: Profile) -> float | None:
    """Model FLOPs utilization: the share of this machine's measured peak speed that steps reach."""
    compute = profile.compute
    steps = profile.steps
    mask = steps.of(compute.phase) & steps.steady
    if not compute.flops_per_step or not compute.peak_flops_per_second or not mask.any():
        return None
    if compute.images_per_step and steps.images[mask].any():
        flops = compute.flops_per_step * float(steps.images[mask].sum()) / compute.images_per_step
    else:
        flops = compute.flops_per_step * int(mask.sum())
    return flops / float(steps.duration[mask].sum()) / compute.peak_flops_per_second


@dataclass(frozen=True)
class OutlierMoment:
    """One long step, with machine usage during the step and on average."""

    index: int
    seconds: float
    start: float
    waited: float | None
    machine: dict[SeriesKind, tuple[float, float]]


_WATCHED: tuple[SeriesKind, ...] = ("cpu", "io_wait", "disk_read", "disk_write", "network", "gpu", "memory")


def outlier_moments(profile: Profile, indices: IntArray | list[int], most: int = 20) -> list[OutlierMoment]:
    """The longest of the given steps, each with the mean of every machine metric during the step and overall."""
    steps = profile.steps
    chosen = sorted(indices, key=lambda i: -steps.duration[i])[:most]
    means = {kind: profile.system.mean(kind) for kind in _WATCHED}
    wait = steps.parts.get("data_wait")
    moments = []
    for i in chosen:
        start, end = float(steps.start[i]), float(steps.start[i] + steps.duration[i])
        machine = {}
        for kind, (time, value) in means.items():
            during = value[(time >= start) & (time <= end)]
            if len(during):
                machine[kind] = (float(during.mean()), float(value.mean()))
        waited = None if wait is None else float(wait[i])
        moments.append(OutlierMoment(int(i), float(steps.duration[i]), start, waited, machine))
    return moments
