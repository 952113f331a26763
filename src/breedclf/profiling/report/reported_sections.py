"""Report sections based on SageMaker's rule reports alone: their counts, and the figures in their details."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from breedclf.profiling.profile import Profile
from breedclf.profiling.reported import (
    RuleReport,
    histogram_of,
    is_number,
    numbers,
    phase_name,
    section,
    step_statistics,
)
from breedclf.profiling.rules.text import seconds
from breedclf.reporting import Section
from breedclf.reporting.blocks import Column, bullets, callout, table
from breedclf.reporting.charts import Reference, bar_chart, binned_histogram, donut_chart
from breedclf.reporting.charts.bars import Bar

_GENERAL_NAMES = {
    "DataLoaderIterInitialize": "starting the data loader",
    "DataLoaderIter": "waiting for the data loader",
    "Forward": "forward",
}
_PERCENTILES = ("max", "p99", "p95", "p50", "min")


def counts_section(profile: Profile) -> Section | None:
    """AWS's table of rules: how often each was triggered, and over how many datapoints."""
    if not profile.reported:
        return None
    ranked = sorted(profile.reported, key=lambda each: (-each.times_triggered, each.rule))
    rows = [
        (each.rule, each.times_triggered, each.violations, each.datapoints, _parameters(each.parameters))
        for each in ranked
    ]
    heads: list[Column | str] = [
        "Rule",
        *(Column(name, True, _thousands) for name in ("Times triggered", "Violations", "Datapoints")),
        "Parameters",
    ]
    return Section(
        "Counts of SageMaker's rules",
        [table("SageMaker's own counts", heads, rows)],
        lead="Times triggered counts evaluations during the job; violations counts datapoints beyond a limit. A rule "
        "triggers only on enough violations.",
    )


def missing_section(profile: Profile) -> Section:
    """What rule reports don't contain, and where to find it."""
    rules_present = {report.rule for report in profile.reported}
    missing = [
        ("Timeline, outliers and parts of steps", "a report has statistics of steps, not the steps themselves."),
        ("Machine usage over time", "a report has percentiles, not the samples."),
        ("Operators' self time", "AWS records total time, in which nested operators count several times."),
        ("Speed relative to the machine's peak", "neither FLOPs per step nor the machine's speed were measured."),
        ("Gradients, weights, losses and classes", "SageMaker's profiler doesn't record them."),
        ("Outcome of the job", "the reports don't say whether it completed, failed or was stopped."),
    ]
    missing += [
        (rule, "its file isn't among these reports.")
        for rule in ("StepOutlier", "OverallSystemUsage", "OverallFrameworkMetrics", "MaxInitializationTime")
        if rule not in rules_present
    ]
    items = bullets(Markup("<strong>{}</strong>: {}").format(what, why) for what, why in missing)
    advice = (
        "The raw data is in the job's profiler-output folder, in system/ and framework/: profile that folder for the "
        "full report."
    )
    return Section("Not in these files", [items, advice])


def phases_section(profile: Profile) -> Section:
    """OverallFrameworkMetrics: shares of the job's time, and AWS's shares of operators."""
    found = _details(profile, "OverallFrameworkMetrics")
    phases = {phase_name(name): value for name, value in numbers(found, "phase").items()}
    blocks: list[Markup | str] = []
    if phases:
        blocks.append(bar_chart("Share of the job's time, by phase", _bars(phases), format=_percent))
        if any(value < 0 for value in phases.values()):
            text = "Steps of different phases overlap here, so AWS's remainder, others, is negative."
            blocks.append(callout("info", "These shares don't add up", text))
    general = {_GENERAL_NAMES.get(name, name): value for name, value in numbers(found, "general").items()}
    if general:
        blocks.append(bar_chart("Share of timed work", _bars(general), format=_percent))
    devices = {_device(name): value for name, value in numbers(found, "ratio").items() if value >= 0}
    if devices:
        blocks.append(donut_chart("CPU and GPU operators", list(devices.items()), format=_percent))
    for device in ("CPU", "GPU"):
        blocks += _operators(found, device)
    return Section(
        "Phases and operators",
        blocks or ["OverallFrameworkMetrics is missing or has no data: the framework wasn't profiled."],
    )


def steps_section(profile: Profile) -> Section:
    """Figures of StepOutlier and Dataloader, and how often the machine was at its limit."""
    groups = step_statistics(_details(profile, "StepOutlier"))
    rows = [
        (
            each.node,
            each.phase,
            each.steps or None,
            seconds(each.mean),
            seconds(each.stddev),
            each.outliers,
            *(seconds(each.percentiles[name]) if name in each.percentiles else None for name in _PERCENTILES),
        )
        for each in groups
    ]
    heads: list[Column | str] = [
        "Node",
        "Phase",
        *(Column(n, True) for n in ("Steps", "Mean", "Standard deviation", "Outliers", "Max", "p99", "p95", "p50")),
        Column("Min", True),
    ]
    blocks: list[Markup | str] = [table("Step durations", heads, rows, empty="StepOutlier is missing or has no steps.")]
    for each in groups:
        if each.counts:
            marks = [Reference(each.mean + 3 * each.stddev, "mean + 3 sd")]
            title = f"Duration of {each.phase} steps, {each.node}"
            blocks.append(
                binned_histogram(title, each.counts, each.edges, x_label="duration", x_format=seconds, references=marks)
            )
    loading = section(_details(profile, "Dataloader"), "dataloading_time")
    counts, edges = histogram_of(loading)
    if counts:
        percentiles = numbers({"times": loading}, "times")
        marks = [Reference(percentiles[name], name) for name in ("p25", "p50", "p95") if name in percentiles]
        blocks.append(
            binned_histogram("Loading a batch", counts, edges, x_label="time", x_format=seconds, references=marks)
        )
    blocks += _bottlenecks(profile)
    return Section("The training loop", blocks)


def _bottlenecks(profile: Profile) -> list[Markup | str]:
    reports = {report.rule: report for report in profile.reported}
    rows = []
    for rule, what in (("CPUBottleneck", "CPU busy, GPU idle"), ("IOBottleneck", "waiting for disks, GPU idle")):
        report = reports.get(rule)
        if report and report.datapoints:
            rows.append((what, report.violations, _share(report.violations, report)))
            low = report.details.get("low_gpu_utilization")
            if rule == "CPUBottleneck" and is_number(low):
                rows.append(("GPU idle, for any reason", int(str(low).partition(".")[0]), _share(low, report)))
    heads: list[Column | str] = ["Bottleneck", Column("Datapoints", True, _thousands), Column("Share", True)]
    return [table("How often the machine was at its limit", heads, rows)] if rows else []


def _operators(found: dict[str, Any], device: str) -> list[Markup | str]:
    shares, totals = numbers(found, device), numbers(found, f"{device}_total")
    if not shares:
        return []
    rows = [
        (name, seconds(totals[name] / 1e6) if name in totals else None, _percent(value))
        for name, value in sorted(shares.items(), key=lambda item: -item[1])
    ]
    heads: list[Column | str] = ["Operator", Column("Total time", True), Column("AWS share", True)]
    return [
        table(f"{device} operators", heads, rows),
        "AWS divides total time (including nested calls) by the sum of total times: nested operators count several "
        "times, and only the most expensive ones are in the files.",
    ]


def _details(profile: Profile, rule: str) -> dict[str, Any]:
    return next((report.details for report in profile.reported if report.rule == rule), {})


def _bars(values: dict[str, float]) -> list[Bar]:
    return [Bar(name, value) for name, value in values.items()]


def _device(name: str) -> str:
    """
    >>> _device("gpu_functions-dev:0"), _device("cpu_functions")
    ('GPU operators, device 0', 'CPU operators')
    """
    kind, _, device = name.partition("_functions")
    return f"{kind.upper()} operators" + (f", device {device.rpartition(':')[2]}" if device else "")


def _share(value: Any, report: RuleReport) -> str:
    return _percent(100 * float(value) / report.datapoints)


def _percent(value: float) -> str:
    return f"{value:.1f}%"


def _thousands(value: Any) -> str:
    return f"{value:,}"


def _parameters(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())
