"""Figures that several parts of the report need, worked out from a profile once."""

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
    """One part of all steps of a phase: seconds, and its share of the phase."""

    name: str
    seconds: float
    share: float


def phase_seconds(profile: Profile) -> dict[str, float]:
    """Time in steps, by phase."""
    return {phase: float(profile.steps.duration[profile.steps.of(phase)].sum()) for phase in profile.steps.phases}


def parts_of(profile: Profile, phase: str) -> list[PartShare]:
    """How a phase's time splits; what nobody timed is `other`. Empty when no part was timed."""
    steps = profile.steps
    mask = steps.of(phase)
    total = float(steps.duration[mask].sum())
    timed = {name: float(np.nansum(steps.parts[name][mask])) for name in PARTS if name in steps.parts}
    if not timed or total <= 0:
        return []
    timed["other"] = max(0.0, total - sum(timed.values()))
    return [PartShare(PART_NAMES[name], value, value / total) for name, value in timed.items() if value > 0]


def aws_shares(operators: Sequence[Operator]) -> dict[str, float]:
    """What AWS's report called an operator's share: its time with calls over the sum of such times.

    Operators that call each other count several times over, so that it is no share of anything; it stands in reports to
    compare with older ones.
    """
    total = sum(operator.inclusive_seconds for operator in operators)
    return {operator.name: operator.inclusive_seconds / total if total else 0.0 for operator in operators}


def flops_share(profile: Profile) -> float | None:
    """Share of this machine's measured speed that a step reaches (model FLOPs utilization)."""
    compute = profile.compute
    steps = profile.steps
    mask = steps.of(compute.phase) & steps.steady
    if not compute.flops_per_step or not compute.peak_flops_per_second or not mask.any():
        return None
    if compute.pictures_per_step and steps.pictures[mask].any():
        flops = compute.flops_per_step * float(steps.pictures[mask].sum()) / compute.pictures_per_step
    else:
        flops = compute.flops_per_step * int(mask.sum())
    return flops / float(steps.duration[mask].sum()) / compute.peak_flops_per_second


@dataclass(frozen=True)
class OutlierMoment:
    """One long step, and the machine while it ran against the rest of the run."""

    index: int
    seconds: float
    start: float
    waited: float | None
    machine: dict[SeriesKind, tuple[float, float]]


_WATCHED: tuple[SeriesKind, ...] = ("cpu", "io_wait", "disk_read", "disk_write", "network", "gpu", "memory")


def outlier_moments(profile: Profile, indices: IntArray | list[int], most: int = 20) -> list[OutlierMoment]:
    """The longest of the given steps, each with the mean of every watched quantity then and overall."""
    steps = profile.steps
    chosen = sorted(indices, key=lambda i: -steps.duration[i])[:most]
    means = {kind: profile.system.mean(kind) for kind in _WATCHED}
    wait = steps.parts.get("data_wait")
    moments = []
    for i in chosen:
        begin, end = float(steps.start[i]), float(steps.start[i] + steps.duration[i])
        machine = {}
        for kind, (time, value) in means.items():
            during = value[(time >= begin) & (time <= end)]
            if len(during):
                machine[kind] = (float(during.mean()), float(value.mean()))
        waited = None if wait is None else float(wait[i])
        moments.append(OutlierMoment(int(i), float(steps.duration[i]), begin, waited, machine))
    return moments
