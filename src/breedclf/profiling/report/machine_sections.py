"""Report sections about the machine: usage, operators, and speed relative to the machine's peak."""

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
MOST_SLICES = 7  # plus one for the others
_USAGE_NAMES = {
    "cpu": "CPU",
    "memory": "CPU memory",
    "gpu": "GPU",
    "gpu_memory": "GPU memory",
    "io_wait": "I/O wait",
    "disk_read": "disk reads",
    "disk_write": "disk writes",
    "network": "network",
    "process_memory": "process memory",
    "loader_workers": "DataLoader workers",
}
_RATES = {"disk_read", "disk_write", "network"}
_BYTES = {"process_memory"}


def usage_section(findings: dict[str, Finding]) -> Section:
    """AWS's section 2: percentiles per node and metric, with an assessment of each."""
    finding = findings.get("OverallSystemUsage")
    rows = []
    for row in usage_rows(finding.details) if finding else []:
        kind = row["kind"]
        form = (
            _rate if kind in _RATES else size if kind in _BYTES else _percent if kind != "loader_workers" else _number
        )
        values = [form(row[name]) for name in ("max", "p99", "p95", "p50", "min")]
        rows.append((row["node"], _USAGE_NAMES.get(kind, kind), *values, _assessment(kind, row)))
    heads: list[Column | str] = [
        "Node",
        "Metric",
        *(Column(n, True) for n in ("Max", "p99", "p95", "p50", "Min")),
        "Assessment",
    ]
    blocks: list[Markup | str] = [table("Machine usage", heads, rows, empty="The machine wasn't sampled.")]
    return Section(
        "Machine usage", blocks, lead="Percentiles over all samples of the run; p95 means that 95% are at or below it."
    )


def _assessment(kind: str, row: dict[str, float]) -> str:
    p95, p50 = row["p95"], row["p50"]
    if kind in ("cpu", "gpu"):
        if p95 < 30:
            return "mostly idle: use a smaller machine, or more work at a time"
        return "fully used" if p50 > 85 else "partly used"
    if kind in ("memory", "gpu_memory"):
        return "nearly full" if p95 > 90 else "not full"
    if kind == "io_wait":
        return "waits for disks" if p50 > 30 else "disks are fast enough"
    return ""


def _percent(value: float) -> str:
    return f"{value:.0f}%"


def _rate(value: float) -> str:
    return f"{size(value)}/s"


def _number(value: float) -> str:
    return f"{value:.0f}"


def operator_section(profile: Profile) -> Section:
    """AWS's tables and pie charts of operators by self time; its double-counted share is included, labeled as such."""
    operators = sorted(profile.operators, key=lambda op: -op.self_seconds)
    if not operators:
        return Section("Operators", ["No operators were traced."])
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
        lead="An operator's self time excludes the operators that it calls, so shares add up to 100%.",
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
        *(Column(n, True) for n in ("Calls", "Self time", "Share", "Total time", "AWS share")),
    ]
    note = (
        "AWS share divides total time (including nested calls) by the sum of total times, which counts nested "
        "operators several times; it is listed only for comparison with AWS's reports."
    )
    return [
        pie_chart(f"{device.upper()} operators by self time", slices, format=seconds),
        table(f"{device.upper()} operators", heads, rows),
        note,
    ]


def speed_section(profile: Profile) -> Section | None:
    """Speed relative to the machine's peak: FLOPs utilization, and the roofline."""
    compute, reached = profile.compute, flops_share(profile)
    if not compute.flops_per_step:
        return None
    rows: list[tuple[str, object]] = [
        ("FLOPs per step", f"{compute.flops_per_step / 1e9:,.1f} GFLOP ({compute.phase})")
    ]
    if compute.peak_flops_per_second:
        rows.append(("Peak speed of a matrix product", f"{compute.peak_flops_per_second / 1e9:,.0f} GFLOP/s, measured"))
    if reached is not None:
        rows.append(("Model FLOPs utilization (MFU)", share(reached)))
    blocks: list[Markup | str] = [facts(rows)]
    if reached is not None:
        text = f"Steps reach {share(reached)} of this machine's measured peak speed"
        blocks.append(
            callout(
                "ok" if reached > 0.4 else "info",
                text,
                "The rest is waiting, memory traffic, and operators with little computation.",
            )
        )
    blocks += _roofline(profile)
    return Section("Speed relative to the machine's peak", blocks)


def _roofline(profile: Profile) -> list[Markup | str]:
    peak, bandwidth = profile.compute.peak_flops_per_second, profile.compute.peak_bytes_per_second
    known = [op for op in profile.operators if op.flops and op.bytes_moved and op.inclusive_seconds > 0]
    if not peak or not bandwidth or not known:
        return []
    intensity = [op.flops / op.bytes_moved for op in known]
    rate = [op.flops / op.inclusive_seconds / 1e9 for op in known]
    low, high = min([*intensity, 0.1]), max([*intensity, 10 * peak / bandwidth])
    grid = [low * (high / low) ** (i / 60) for i in range(61)]
    roof = [min(peak, bandwidth * x) / 1e9 for x in grid]
    chart = scatter_chart(
        "Roofline: operators relative to the limits of compute and memory",
        [Series("operators", intensity, rate), Series("machine limit", grid, roof)],
        x_label="FLOP per byte moved",
        y_label="GFLOP/s",
        log_x=True,
        log_y=True,
        tips=[[op.name for op in known], [""] * len(grid)],
        full=True,
    )
    ridge = peak / bandwidth
    return [chart, f"Below {ridge:.0f} FLOP per byte, memory is the limit; above, compute is."]


def overhead_section(profile: Profile) -> Section:
    """The overhead of recording, and the origin of the profile."""
    cost, origin = profile.overhead, profile.provenance
    rows: list[tuple[str, object]] = []
    if cost.timer_seconds_per_step is not None:
        rows.append(("Timers", f"{seconds(cost.timer_seconds_per_step)} per step"))
    if cost.sampler_seconds_per_sample is not None:
        rows.append(
            (
                "Machine samples",
                f"{seconds(cost.sampler_seconds_per_sample)} each, {seconds(cost.sampler_seconds)} in total",
            )
        )
    if cost.tensor_snapshots:
        each = cost.tensors_seconds / cost.tensor_snapshots
        rows.append(
            (
                "Tensor snapshots",
                f"{cost.tensor_snapshots}, {seconds(each)} each, {seconds(cost.tensors_seconds)} in total",
            )
        )
    if cost.traced_steps:
        ratio = "" if cost.traced_step_ratio is None else f", each takes {cost.traced_step_ratio:.2f} times as long"
        rows.append(("Traced steps", f"{cost.traced_steps}{ratio}; excluded from outlier statistics"))
    if cost.writing_seconds:
        rows.append(("Writing profiles", seconds(cost.writing_seconds)))
    facts_of_origin = (
        ("Source", profile.job.source),
        ("Recorded by", f"breedclf {origin.breedclf}" if origin.breedclf else ""),
        ("Python, torch", ", ".join(v for v in (origin.python, origin.torch) if v)),
        ("Machine", ", ".join(v for v in (origin.platform, origin.processor) if v)),
    )
    rows += [(name, value) for name, value in facts_of_origin if value]
    blocks: list[Markup | str] = [facts(rows)]
    blocks += [callout("info", "Omitted or not measured", *origin.notes[:20])] if origin.notes else []
    return Section("Overhead of recording, and origin", blocks)
