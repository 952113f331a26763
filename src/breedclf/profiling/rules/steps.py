"""Rules about step durations, and how the time of the whole run is distributed."""

from __future__ import annotations

from typing import Any

import numpy as np

from breedclf.profiling.profile import PARTS, Profile
from breedclf.profiling.rules.finding import Finding, issue, no_data, ok, rule
from breedclf.profiling.rules.text import count, seconds, share

MINUTE = 60.0


@rule(
    "StepOutlier",
    group="steps",
    differs="Steps that the tracer slowed down are excluded; the threshold is one-sided, as in AWS's code but not in "
    "its documentation.",
)
def step_outlier(profile: Profile, *, stddev: float = 3.0, n_outliers: int = 10, mode: str | None = None) -> Finding:
    """Steps that take much longer than others of the same node and phase."""
    steps = profile.steps
    groups = [
        _outliers(profile, node, phase, mask, stddev) for node, phase, mask in steps.groups() if mode in (None, phase)
    ]
    if not groups:
        return no_data("no step was timed" + (f" in phase {mode}" if mode else ""))
    datapoints = sum(group["steps"] for group in groups)
    bad = [group for group in groups if len(group["outliers"]) > n_outliers]
    worst = max(groups, key=lambda group: len(group["outliers"]))
    if not bad:
        return ok(
            f"{count(len(worst['outliers']), 'outlier')} at most (phase {worst['phase']} on node "
            f"{worst['node']}: mean {seconds(worst['mean'])}, standard deviation {seconds(worst['stddev'])}); "
            f"more than {n_outliers} would be an issue",
            datapoints=datapoints,
            details={"groups": groups},
        )
    evidence = "; ".join(
        f"node {group['node']}, phase {group['phase']}: {count(len(group['outliers']), 'step')} of {group['steps']:,} "
        f"took longer than {seconds(group['threshold'])} (mean {seconds(group['mean'])} + {stddev:g} x standard "
        f"deviation {seconds(group['stddev'])}, outliers included)"
        for group in bad
    )
    return issue(
        evidence,
        "Check what the machine did during these steps, in the section on outliers: other processes, checkpoints, "
        "slow storage, or images that are much larger than the rest." + _wait_advice(bad),
        datapoints=datapoints,
        triggers=sum(len(group["outliers"]) for group in bad),
        details={"groups": groups},
    )


def _outliers(profile: Profile, node: str, phase: str, mask: Any, stddev: float) -> dict[str, Any]:
    steps = profile.steps
    indices = np.flatnonzero(mask & steps.steady & np.isfinite(steps.duration))
    durations = steps.duration[indices]
    if not len(durations):
        durations = np.zeros(1)
        indices = indices[:0]
    mean, deviation = float(durations.mean()), float(durations.std())
    threshold = mean + stddev * deviation
    found = indices[steps.duration[indices] > threshold + 1e-9]
    wait = steps.parts.get("data_wait")
    return {
        "node": node,
        "phase": phase,
        "steps": len(indices),
        "mean": mean,
        "stddev": deviation,
        "threshold": threshold,
        "outliers": [int(index) for index in found],
        "wait_share": None
        if wait is None or not len(found)
        else float(wait[found].sum() / steps.duration[found].sum()),
    }


def _wait_advice(groups: list[dict[str, Any]]) -> str:
    waits = [group["wait_share"] for group in groups if group["wait_share"] is not None]
    if waits and max(waits) > 0.5:
        return f" They spent {share(max(waits))} of their time waiting for data: start there."
    return ""


@rule("MaxInitializationTime", group="steps")
def max_initialization_time(profile: Profile, *, threshold: float = 20.0) -> Finding:
    """A long time before the first step."""
    spent = profile.job.initialization_seconds
    if spent is None and len(profile.steps):
        spent = float(profile.steps.start.min())
    if spent is None:
        return no_data("the time of the first step isn't known")
    if spent > threshold * MINUTE:
        return issue(
            f"{seconds(spent)} passed before the first step; {threshold:g} min is the limit",
            "Copy data and weights before the job starts, or stream them; import only what the job needs; keep the "
            "feature cache between runs.",
            datapoints=1,
        )
    return ok(f"{seconds(spent)} before the first step, limit {threshold:g} min", datapoints=1)


@rule(
    "OverallFrameworkMetrics",
    group="summary",
    differs="Never an issue, as in AWS's rule; shares are relative to measured time.",
)
def overall_framework_metrics(profile: Profile) -> Finding:
    """How time is distributed over phases, and within steps over their parts."""
    steps = profile.steps
    if not len(steps) and not profile.operators:
        return no_data("neither steps nor operators were timed")
    phases = {phase: float(steps.duration[steps.of(phase)].sum()) for phase in steps.phases}
    parts = {name: float(np.nansum(column)) for name, column in steps.parts.items()}
    inside = float(steps.duration.sum())
    if parts:
        parts["other"] = max(0.0, inside - sum(parts.values()))
    others = max(0.0, profile.job.seconds - inside)
    shares = ", ".join(f"{name} {share(value / inside)}" for name, value in parts.items()) if inside else ""
    evidence = f"{seconds(inside)} of {seconds(profile.job.seconds)} was spent in steps"
    return ok(
        evidence + (f": {shares}" if shares else ""),
        datapoints=len(steps) or len(profile.operators),
        details={
            "phases": {**phases, "others": others},
            "parts": {name: parts[name] for name in (*PARTS, "other") if name in parts},
        },
    )
