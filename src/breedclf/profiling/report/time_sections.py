"""Report sections about time: the job, its phases, the parts of steps, the loop, outliers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from markupsafe import Markup

from breedclf.profiling.profile import JobInfo, Profile
from breedclf.profiling.report.summary import outlier_moments, parts_of, phase_seconds
from breedclf.profiling.rules import Finding
from breedclf.profiling.rules.text import seconds, share
from breedclf.reporting import Section
from breedclf.reporting.blocks import Column, callout, facts, table
from breedclf.reporting.charts import (
    Reference,
    Series,
    Span,
    bar_chart,
    box_chart,
    donut_chart,
    histogram,
    line_chart,
    stacked_bar_chart,
    timeline_chart,
)
from breedclf.reporting.charts.bars import Bar

MOST_STEPS_IN_TIMELINE = 5_000
OTHERS_WARNING = 0.25


def job_section(profile: Profile) -> Section:
    """AWS's section 1: the job, its times, and how they are distributed."""
    job, steps = profile.job, profile.steps
    loop = float((steps.start + steps.duration).max() - steps.start.min()) if len(steps) else 0.0
    rows: list[tuple[str, object]] = [
        ("Job", job.name),
        ("Status", job.status),
        ("Start", _moment(job.start) if job.end else None),
        ("End", _moment(job.end) if job.end else None),
        ("Duration", f"{seconds(job.seconds)} ({job.seconds:,.0f} s)" if job.seconds >= 600 else duration(job)),
    ]
    if len(steps):
        rows += [
            ("Loop start", _moment(job.start + float(steps.start.min()))),
            ("Loop end", _moment(job.start + float((steps.start + steps.duration).max()))),
            ("Loop duration", f"{seconds(loop)} ({share(loop / job.seconds)})" if job.seconds else seconds(loop)),
        ]
    for name, value in (("Initialization", job.initialization_seconds), ("Finalization", job.finalization_seconds)):
        if value is not None:
            rows.append((name, f"{seconds(value)} ({share(value / job.seconds)})" if job.seconds else seconds(value)))
    if network := job.settings.get("architecture"):
        weights, freeze = job.settings.get("weights"), job.settings.get("freeze")
        rows.append(("Backbone", f"{network}, weights {weights}, freeze {freeze}"))
    rows += [("Device", job.device), ("Cores", ", ".join(f"{node}: {n}" for node, n in job.cores.items()) or None)]
    slices = [(name, value) for name, value in time_of_job(profile).items() if value > 0]
    return Section("The job", [facts(rows), donut_chart("Time of the job", slices, format=seconds)])


def duration(job: JobInfo) -> str:
    """How long the job took; unknown for some reports."""
    return seconds(job.seconds) if job.end else "unknown duration"


def time_of_job(profile: Profile) -> dict[str, float]:
    """Seconds of initialization, steps, finalization and the rest, which add up to the job."""
    steps = sum(phase_seconds(profile).values())
    between = "between first and last step" if profile.job.source == "sagemaker report" else "between steps"
    start, end = profile.job.initialization_seconds or 0.0, profile.job.finalization_seconds or 0.0
    rest = max(0.0, profile.job.seconds - steps - start - end)
    by_phase = phase_seconds(profile)
    return {
        "initialization": start,
        **{f"{p} steps": s for p, s in by_phase.items()},
        "finalization": end,
        between: rest,
    }


def framework_section(profile: Profile) -> Section:
    """AWS's section 3: phases, and the parts of their steps."""
    phases = phase_seconds(profile)
    if not phases:
        return Section("Phases and parts of steps", ["No steps were timed."])
    others = max(0.0, profile.job.seconds - sum(phases.values()))
    blocks: list[Markup | str] = [donut_chart("Time by phase", [*phases.items(), ("others", others)], format=seconds)]
    if profile.job.seconds and others / profile.job.seconds > OTHERS_WARNING:
        blocks.append(
            callout(
                "info",
                f"{share(others / profile.job.seconds)} of the job was spent outside of steps",
                "This includes startup, checkpoints, untimed evaluation, and writing the model.",
            )
        )
    split = {phase: parts_of(profile, phase) for phase in phases}
    split = {phase: parts for phase, parts in split.items() if parts}
    if split:
        names = list(dict.fromkeys(part.name for parts in split.values() for part in parts))
        values = {name: [_share_of(parts, name) for parts in split.values()] for name in names}
        blocks.append(
            stacked_bar_chart("Parts of steps, by phase", list(split), values, format=share, shares=True, full=True)
        )
        rows = [(phase, p.name, seconds(p.seconds), share(p.share)) for phase, parts in split.items() for p in parts]
        blocks.append(table("Parts of steps", ["Phase", "Part", Column("Time", True), Column("Share", True)], rows))
    else:
        blocks.append("This source doesn't time the parts of steps (waiting, forward, backward, optimizer).")
    return Section("Phases and parts of steps", blocks, lead="A step lasts from the previous step's end to its own.")


def _share_of(parts: Sequence[object], name: str) -> float:
    return next((part.share for part in parts if part.name == name), 0.0)  # type: ignore[attr-defined]


def timeline_section(profile: Profile) -> Section:
    """A timeline of the run, with machine usage below it."""
    steps = profile.steps
    spans = [
        Span("run", float(s), float(s + d), name, name)
        for name, s, d in zip(profile.spans.name, profile.spans.start, profile.spans.duration, strict=True)
    ]
    keep = np.arange(len(steps))
    note = ""
    if len(steps) > MOST_STEPS_IN_TIMELINE:
        keep = np.linspace(0, len(steps) - 1, MOST_STEPS_IN_TIMELINE).astype(int)
        note = f"{MOST_STEPS_IN_TIMELINE:,} of {len(steps):,} steps are shown, evenly spaced."
    for i in keep:
        start = float(steps.start[i])
        phase = steps.phases[steps.phase[i]]
        spans.append(
            Span(f"steps, {steps.nodes[steps.node[i]]}", start, start + float(steps.duration[i]), phase, f"step {i}")
        )
    blocks: list[Markup | str] = (
        [timeline_chart("Timeline of the run", spans, note=note)] if spans else ["Nothing was timed."]
    )
    lines = []
    for kind, name in (("cpu", "CPU"), ("gpu", "GPU"), ("io_wait", "I/O wait")):
        for node in profile.system.nodes:
            time, value = profile.system.mean(kind, node)  # type: ignore[arg-type]
            if len(time):
                lines.append(Series(f"{name}, {node}", time.tolist(), value.tolist()))
    if lines:
        blocks.append(
            line_chart(
                "Machine usage over time",
                lines,
                x_label="seconds since the start",
                y_label="%",
                from_zero=True,
                full=True,
            )
        )
    return Section("Timeline", blocks)


def loop_section(profile: Profile, findings: dict[str, Finding]) -> Section:
    """AWS's section 5: how long steps take, and the causes of long ones."""
    steps = profile.steps
    if not len(steps):
        return Section("The training loop", ["No steps were timed."])
    blocks: list[Markup | str] = []
    groups = findings["StepOutlier"].details.get("groups", []) if "StepOutlier" in findings else []
    rows = [
        (
            g["node"],
            g["phase"],
            g["steps"],
            seconds(g["mean"]),
            seconds(g["stddev"]),
            seconds(g["threshold"]),
            len(g["outliers"]),
        )
        for g in groups
    ]
    heads: list[Column | str] = [
        "Node",
        "Phase",
        *(Column(n, True) for n in ("Steps", "Mean", "Standard deviation", "Threshold", "Outliers")),
    ]
    blocks.append(table("Step durations", heads, rows, empty="The rule StepOutlier wasn't selected."))
    for node, phase, mask in steps.groups():
        steady = steps.duration[mask & steps.steady]
        marks = [Reference(g["threshold"], "outlier limit") for g in groups if (g["node"], g["phase"]) == (node, phase)]
        blocks.append(
            histogram(
                f"Duration of {phase} steps, {node}",
                steady.tolist(),
                x_label="duration",
                x_format=seconds,
                references=marks,
            )
        )
    wait = steps.parts.get("data_wait")
    if wait is not None and len(wait):
        p25, p50, p95 = np.percentile(wait, [25, 50, 95]).tolist()
        marks = [Reference(p25, "p25"), Reference(p50, "p50"), Reference(p95, "p95")]
        blocks.append(
            histogram("Waiting for data, per step", wait.tolist(), x_label="wait", x_format=seconds, references=marks)
        )
    blocks += _boxes(profile)
    return Section("The training loop", blocks)


def _boxes(profile: Profile) -> list[Markup]:
    """Box plots of utilization and memory, and how often the machine was a bottleneck."""
    made = []
    for kind, title in (("cpu", "CPU utilization, by core"), ("gpu", "GPU utilization"), ("gpu_memory", "GPU memory")):
        groups = {f"{s.name} {s.node}": s.value.tolist() for s in profile.system.of(kind)[:32]}  # type: ignore[arg-type]
        if groups:
            made.append(box_chart(title, groups, value_label="%"))
    made += _bottlenecks(profile)
    return made


def _bottlenecks(profile: Profile) -> list[Markup]:
    _, cpu = profile.system.mean("cpu")
    if not len(cpu):
        return []
    _, io = profile.system.mean("io_wait")
    waiting = float((io > 50).mean()) if len(io) else 0.0
    full = float((cpu > 90).mean()) * (1 - waiting)
    slices = [("CPU above 90%", full), ("I/O wait above 50%", waiting), ("neither", max(0.0, 1 - full - waiting))]
    return [donut_chart("How often the machine was at its limit", slices, format=share)]


def outlier_section(profile: Profile, findings: dict[str, Finding]) -> Section | None:
    """Machine usage during the long steps."""
    finding = findings.get("StepOutlier")
    indices = [i for group in finding.details.get("groups", []) for i in group["outliers"]] if finding else []
    moments = outlier_moments(profile, indices)
    if not moments:
        return None
    kinds = list(dict.fromkeys(kind for moment in moments for kind in moment.machine))
    rows = [
        (
            moment.index,
            seconds(moment.start),
            seconds(moment.seconds),
            None if moment.waited is None else seconds(moment.waited),
            *(_during_and_usually(moment.machine.get(kind)) for kind in kinds),
        )
        for moment in moments
    ]
    heads: list[Column | str] = [
        Column("Step", True),
        *(Column(n, True) for n in ("Start", "Duration", "Waiting for data")),
        *(k.replace("_", " ") for k in kinds),
    ]
    more = f"The {len(moments)} longest of {len(indices)}." if len(indices) > len(moments) else ""
    blocks: list[Markup | str] = [
        table("Outliers and machine usage (usual usage)", heads, rows),
        more,
    ]
    bars = [Bar(f"step {m.index}", m.seconds) for m in moments]
    blocks.append(bar_chart("Longest steps", bars, format=seconds))
    return Section("Outliers and machine usage", [b for b in blocks if b])


def _during_and_usually(pair: tuple[float, float] | None) -> str | None:
    if pair is None:
        return None
    if max(pair) > 1000:
        return f"{pair[0] / 1e6:.1f} MB/s (usually {pair[1] / 1e6:.1f})"
    return f"{pair[0]:.0f} (usually {pair[1]:.0f})"


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
