"""Findings from the reports of SageMaker's own rules: their counts and measurements, with advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from breedclf.profiling.reported import RuleReport, is_number, numbers, phase_name, step_statistics, usage_rows
from breedclf.profiling.rules.finding import Finding, FindingStatus
from breedclf.profiling.rules.text import count, seconds

MICROSECONDS = 1e-6

_ADVICE = {
    "BatchSize": "Raise batch_size (and the learning rate with it), or use a smaller instance: CPU, GPU and GPU memory "
    "weren't fully used.",
    "CPUBottleneck": "The GPU waited while the CPU was busy: cache features, decode fewer or smaller images, or use an "
    "instance with more cores per GPU.",
    "Dataloader": "Raise the number of DataLoader workers if steps wait for data; lower it if workers outnumber "
    "the cores.",
    "GPUMemoryIncrease": "A longer run may run out of GPU memory: look for tensors that are kept from step to step, "
    "such as losses summed up without .item().",
    "IOBottleneck": "The machine waited for its disks: copy the data to fast storage, or use fewer, larger files.",
    "LoadBalancing": "The GPUs did unequal work: give each process the same share of every batch.",
    "LowGPUUtilization": "The GPU was idle most of the time: check that the model runs on it, raise batch_size and the "
    "number of DataLoader workers, or use an instance without a GPU.",
    "MaxInitializationTime": "Copy data and weights before the job starts, or stream them; import only what the job "
    "needs.",
    "StepOutlier": "Check what the machine did during these steps: checkpoints, slow storage, compilation in the first "
    "steps, or images that are much larger than the rest.",
}


def reported_finding(report: RuleReport) -> Finding:
    """The finding of a rule that SageMaker ran, with AWS's own counts; unknown rules have no advice."""
    own = report.details
    measured = _MEASURED[report.rule](report) if report.rule in _MEASURED else ""
    status: FindingStatus = "issue" if report.times_triggered else "ok" if report.datapoints or measured else "no_data"
    if own.get("status") in get_args(FindingStatus):
        status = own["status"]
    advice = _ADVICE.get(report.rule, "") if status == "issue" else ""
    return Finding(
        rule=report.rule,
        status=status,
        evidence=str(own.get("evidence") or _evidence(report, measured)),
        advice=str(own.get("advice") or advice),
        datapoints=report.datapoints,
        times_triggered=report.times_triggered,
        violations=report.violations,
        parameters=report.parameters,
        details=own,
    )


def _evidence(report: RuleReport, measured: str) -> str:
    counted = report.times_triggered or report.violations
    if not counted and (not report.datapoints or (measured and report.rule.startswith("Overall"))):
        return measured or "SageMaker's rule had no datapoints"
    times = f"triggered {count(report.times_triggered, 'time')}" if report.times_triggered else "never triggered"
    text = f"{times}; {count(report.violations, 'violation')} in {count(report.datapoints, 'datapoint')}"
    return f"{text}; {measured}" if measured else text


def _steps(report: RuleReport) -> str:
    return "; ".join(
        f"node {each.node}, phase {each.phase}: mean {seconds(each.mean)}, standard deviation {seconds(each.stddev)}, "
        f"{count(each.outliers, 'outlier')}"
        for each in step_statistics(report.details)
    )


def _dataloader(report: RuleReport) -> str:
    found = report.details
    facts = []
    if is_number(found.get("num_workers")) and is_number(found.get("cores")):
        workers = int(found["num_workers"])
        facts.append(
            f"{count(workers, 'worker')}{' (AWS counts 1)' if workers == 0 else ''} for "
            f"{count(int(found['cores']), 'core')}"
        )
    if isinstance(found.get("pin_memory"), bool):
        facts.append(f"pin_memory {'on' if found['pin_memory'] else 'off'}")
    if "p50" in (times := numbers(found, "dataloading_time")):
        facts.append(f"a batch took {seconds(times['p50'])} to load (median)")
    return ", ".join(facts)


def _initialization(report: RuleReport) -> str:
    found = report.details
    first, start = numbers(found, "step_num").get("first"), found.get("job_start")
    if first is None or not is_number(start):
        return ""
    limit = report.parameters.get("threshold")
    return f"{seconds(first * MICROSECONDS - float(str(start)))} before the first step" + (
        f", limit {limit} min" if limit else ""
    )


def _usage(report: RuleReport) -> str:
    names = {"cpu": "CPU", "memory": "CPU memory", "gpu": "GPU", "gpu_memory": "GPU memory", "io_wait": "I/O wait"}
    by_node: dict[str, list[str]] = {}
    for row in usage_rows(report.details):
        if row["kind"] in names:
            text = f"{names[row['kind']]} median {row['p50']:.0f}%, p95 {row['p95']:.0f}%"
            by_node.setdefault(row["node"], []).append(text)
    return "; ".join(f"{node}: {', '.join(texts)}" for node, texts in by_node.items())


def _framework(report: RuleReport) -> str:
    shares = numbers(report.details, "phase")
    text = ", ".join(f"{phase_name(name)} {value:.1f}%" for name, value in shares.items())
    if any(value < 0 for value in shares.values()):
        text += " (phases overlap, so others is negative)"
    operators = numbers(report.details, "CPU")
    if operators:
        most = max(operators, key=lambda name: operators[name])
        text += f"{'; ' if text else ''}most expensive CPU operator {most}, including nested calls"
    return f"share of the job's time: {text}" if shares else text


def _windows(report: RuleReport) -> str:
    texts = []
    for node, parts in report.details.items():
        for part in parts if isinstance(parts, dict) else ():
            if "p95" in (values := numbers(parts, part)):
                texts.append(f"{node} {part.replace('_', ' ')} {values['p95']:.0f}%")
    return f"p95 in the last window: {', '.join(texts)}" if texts else ""


def _bottlenecks(report: RuleReport) -> str:
    found = report.details.get("low_gpu_utilization")
    return f"the GPU was below its limit in {count(int(found), 'datapoint')}" if found and is_number(found) else ""


_MEASURED: dict[str, Callable[[RuleReport], str]] = {
    "StepOutlier": _steps,
    "Dataloader": _dataloader,
    "MaxInitializationTime": _initialization,
    "OverallSystemUsage": _usage,
    "OverallFrameworkMetrics": _framework,
    "BatchSize": _windows,
    "LowGPUUtilization": _windows,
    "GPUMemoryIncrease": _windows,
    "CPUBottleneck": _bottlenecks,
    "IOBottleneck": _bottlenecks,
}
