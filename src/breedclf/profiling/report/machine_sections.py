"""Sections of the page on the machine: usage of its parts, operators, speed against what it could do."""

from __future__ import annotations

from markupsafe import Markup

from breedclf.profiling.profile import Operator, Profile
from breedclf.profiling.report.summary import aws_shares, flops_share
from breedclf.profiling.reported import usage_rows
from breedclf.profiling.rules import Finding
from breedclf.profiling.rules.text import seconds, share, size
from breedclf.reporting import Section
from breedclf.reporting.blocks import Column, callout, facts, table
from breedclf.reporting.charts import Series, pie_chart, scatter_chart

MOST_OPERATORS = 25
MOST_SLICES = 8
_USAGE_NAMES = {
    "cpu": "CPU",
    "memory": "CPU memory",
    "gpu": "GPU",
    "gpu_memory": "GPU memory",
    "io_wait": "I/O wait",
    "disk_read": "disk, read",
    "disk_write": "disk, written",
    "network": "network",
    "process_memory": "memory of the process",
    "loader_workers": "loader workers",
}
_RATES = {"disk_read", "disk_write", "network"}
_BYTES = {"process_memory"}


def usage_section(findings: dict[str, Finding]) -> Section:
    """AWS's section 2: node by quantity, percentiles, and a verdict on each."""
    finding = findings.get("OverallSystemUsage")
    rows = []
    for row in usage_rows(finding.details) if finding else []:
        kind = row["kind"]
        form = (
            _rate if kind in _RATES else size if kind in _BYTES else _percent if kind != "loader_workers" else _number
        )
        values = [form(row[name]) for name in ("max", "p99", "p95", "p50", "min")]
        rows.append((row["node"], _USAGE_NAMES.get(kind, kind), *values, _verdict(kind, row)))
    heads: list[Column | str] = [
        "Node",
        "What",
        *(Column(n, True) for n in ("Max", "p99", "p95", "p50", "Min")),
        "Verdict",
    ]
    blocks: list[Markup | str] = [table("Use of the machine", heads, rows, empty="The machine wasn't sampled.")]
    return Section(
        "The machine", blocks, lead="Percentiles over the samples of the whole run; p95 means 95% lay at or below."
    )


def _verdict(kind: str, row: dict[str, float]) -> str:
    p95, p50 = row["p95"], row["p50"]
    if kind in ("cpu", "gpu"):
        if p95 < 30:
            return "mostly idle: a smaller machine would do, or more work at once"
        return "fully used" if p50 > 85 else "used, with room"
    if kind in ("memory", "gpu_memory"):
        return "nearly full" if p95 > 90 else "has room"
    if kind == "io_wait":
        return "waits for disks" if p50 > 30 else "disks keep up"
    return ""


def _percent(value: float) -> str:
    return f"{value:.0f}%"


def _rate(value: float) -> str:
    return f"{size(value)}/s"


def _number(value: float) -> str:
    return f"{value:.0f}"


def operator_section(profile: Profile) -> Section:
    """AWS's tables and pie of operators, by their own time; its double-counted figure stands beside it, labelled."""
    operators = sorted(profile.operators, key=lambda op: -op.self_seconds)
    if not operators:
        return Section("Operators", ["No operator was traced: give the run a few traced steps."])
    blocks: list[Markup | str] = []
    by_device = {d: sum(op.self_seconds for op in operators if op.device == d) for d in ("cpu", "gpu")}
    blocks.append(
        pie_chart(
            "CPU and GPU operators", [(f"{d.upper()} operators", s) for d, s in by_device.items() if s], format=seconds
        )
    )
    for device in ("cpu", "gpu"):
        own = [op for op in operators if op.device == device]
        if own:
            blocks += _device_blocks(device, own, by_device[device])
    return Section(
        "Operators",
        blocks,
        lead="An operator's own time leaves out the operators that it calls, so that the shares add up to 100%.",
    )


def _device_blocks(device: str, own: list[Operator], total: float) -> list[Markup | str]:
    counted = aws_shares(own[:MOST_OPERATORS])
    slices = [(op.name, op.self_seconds) for op in own[:MOST_SLICES]]
    if rest := sum(op.self_seconds for op in own[MOST_SLICES:]):
        slices.append((f"{len(own) - MOST_SLICES} others", rest))
    rows = [
        (
            op.name,
            op.calls,
            seconds(op.self_seconds),
            share(op.self_seconds / total if total else 0),
            seconds(op.inclusive_seconds),
            share(counted[op.name]),
        )
        for op in own[:MOST_OPERATORS]
    ]
    heads: list[Column | str] = [
        "Operator",
        *(Column(n, True) for n in ("Calls", "Own time", "Share", "With calls", "As AWS counted")),
    ]
    note = (
        "“As AWS counted” divides time with calls by the sum of such times, which counts nested operators several "
        "times "
        "over; it stands here only to compare with older reports."
    )
    return [
        pie_chart(f"{device.upper()} operators by their own time", slices, format=seconds),
        table(f"{device.upper()} operators", heads, rows),
        note,
    ]


def speed_section(profile: Profile) -> Section | None:
    """How near the run comes to what this machine can do: utilization of FLOPs, and the roofline."""
    compute, reached = profile.compute, flops_share(profile)
    if not compute.flops_per_step:
        return None
    rows: list[tuple[str, object]] = [
        ("Work of a step", f"{compute.flops_per_step / 1e9:,.1f} GFLOP ({compute.phase})")
    ]
    if compute.peak_flops_per_second:
        rows.append(("This machine's matrix product", f"{compute.peak_flops_per_second / 1e9:,.0f} GFLOP/s, measured"))
    if reached is not None:
        rows.append(("Model FLOPs utilization (MFU)", share(reached)))
    blocks: list[Markup | str] = [facts(rows)]
    if reached is not None:
        text = f"Steps reach {share(reached)} of this machine's measured speed"
        blocks.append(
            callout(
                "ok" if reached > 0.4 else "info",
                text,
                ("The rest is waiting, memory traffic, and operators that compute little."),
            )
        )
    blocks += _roofline(profile)
    return Section("Speed against the machine's limit", blocks)


def _roofline(profile: Profile) -> list[Markup | str]:
    peak, bandwidth = profile.compute.peak_flops_per_second, profile.compute.peak_bytes_per_second
    known = [op for op in profile.operators if op.flops and op.bytes_moved and op.inclusive_seconds > 0]
    if not peak or not bandwidth or not known:
        return []
    intensity = [op.flops / op.bytes_moved for op in known]
    rate = [op.flops / op.inclusive_seconds / 1e9 for op in known]
    low, high = min([*intensity, 0.1]), max([*intensity, 10 * peak / bandwidth])
    places = [low * (high / low) ** (i / 60) for i in range(61)]
    roof = [min(peak, bandwidth * x) / 1e9 for x in places]
    chart = scatter_chart(
        "Roofline: operators below what compute and memory allow",
        [Series("operators", intensity, rate), Series("limit of this machine", places, roof)],
        x_label="FLOP a byte moved",
        y_label="GFLOP/s",
        log_x=True,
        log_y=True,
        tips=[[op.name for op in known], [""] * len(places)],
        full=True,
    )
    ridge = peak / bandwidth
    return [chart, f"Left of {ridge:.0f} FLOP a byte memory is the limit, right of it computing is."]


def overhead_section(profile: Profile) -> Section:
    """What recording cost, and what is behind the figures."""
    cost, made = profile.overhead, profile.provenance
    rows: list[tuple[str, object]] = []
    if cost.timer_seconds_per_step is not None:
        rows.append(("Timers", f"{seconds(cost.timer_seconds_per_step)} a step"))
    if cost.sampler_seconds_per_sample is not None:
        rows.append(
            (
                "Samples of the machine",
                f"{seconds(cost.sampler_seconds_per_sample)} each, {seconds(cost.sampler_seconds)} in all",
            )
        )
    if cost.tensors_looks:
        each = cost.tensors_seconds / cost.tensors_looks
        rows.append(
            ("Looks at tensors", f"{cost.tensors_looks}, {seconds(each)} each, {seconds(cost.tensors_seconds)} in all")
        )
    if cost.traced_steps:
        ratio = "" if cost.traced_step_ratio is None else f", each {cost.traced_step_ratio:.2f} times as long as others"
        rows.append(("Traced steps", f"{cost.traced_steps}{ratio}; left out of the statistics of outliers"))
    if cost.writing_seconds:
        rows.append(("Writing profiles", seconds(cost.writing_seconds)))
    origin = (
        ("Source", profile.job.source),
        ("Recorded by", f"breedclf {made.breedclf}" if made.breedclf else ""),
        ("Python, torch", ", ".join(v for v in (made.python, made.torch) if v)),
        ("Machine", ", ".join(v for v in (made.platform, made.processor) if v)),
    )
    rows += [(name, value) for name, value in origin if value]
    blocks: list[Markup | str] = [facts(rows)]
    blocks += [callout("info", "Left out or not measured", *made.notes[:20])] if made.notes else []
    return Section("Cost of recording, and origin", blocks)
