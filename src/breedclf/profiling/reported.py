"""Reports of the rules in SageMaker's ProfilerReport: their counts and measurements."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from breedclf.profiling.columns import Count, JsonObject


class RuleReport(BaseModel):
    """One `<Rule>.json` of a ProfilerReport.

    `times_triggered` counts the evaluations in which the rule fired (AWS's `RuleTriggered`, as shown in its own
    report), `violations` the datapoints beyond the rule's limits, `datapoints` all evaluated datapoints.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    rule: str
    times_triggered: Count = 0
    violations: Count = 0
    datapoints: Count = 0
    parameters: JsonObject = Field(default_factory=dict)
    details: JsonObject = Field(default_factory=dict)


PHASES = {"TRAIN": "train", "EVAL": "valid", "PREDICT": "predict", "GLOBAL": "global"}
_LARGEST = 1e18
_PERCENTILES = ("max", "p99", "p95", "p50", "min")
_USAGE_KINDS = {
    "CPU": "cpu",
    "CPU memory": "memory",
    "GPU": "gpu",
    "GPU memory": "gpu_memory",
    "I/O": "io_wait",
    "Network": "network",
}


def phase_name(text: str) -> str:
    """
    >>> phase_name("Step:ModeKeys.EVAL"), phase_name("others")
    ('valid', 'others')
    """
    return PHASES.get(text.rpartition(".")[2].upper(), text)


def section(details: dict[str, Any], name: str) -> dict[str, Any]:
    """An object within a rule's details; empty if it is absent or isn't an object."""
    found = details.get(name)
    return found if isinstance(found, dict) else {}


def numbers(details: dict[str, Any], name: str) -> dict[str, float]:
    """The numbers of an object within a rule's details, by name."""
    return {str(key): float(value) for key, value in section(details, name).items() if is_number(value)}


def is_number(value: Any) -> bool:
    """Whether it is a number of plausible size: the largest are microseconds since 1970."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def usage_rows(details: dict[str, Any]) -> list[dict[str, Any]]:
    """OverallSystemUsage's percentiles, one row per node and metric."""
    if isinstance(own := details.get("usage"), list):
        return [row for row in own if _is_usage(row)]
    rows = [
        {"node": str(node), "kind": kind, **values}
        for title, kind in _USAGE_KINDS.items()
        for node, values in section(details, title).items()
        if isinstance(values, dict)
    ]
    return sorted((row for row in rows if _is_usage(row)), key=lambda row: str(row["node"]))


def _is_usage(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(name), str) for name in ("node", "kind"))
        and all(is_number(row.get(name)) for name in _PERCENTILES)
    )


@dataclass(frozen=True)
class StepStatistics:
    """StepOutlier's statistics of one node, in seconds, with the histogram of step durations."""

    node: str
    phase: str
    steps: int
    mean: float
    stddev: float
    outliers: int
    percentiles: dict[str, float]
    counts: list[float]
    edges: list[float]


def step_statistics(details: dict[str, Any]) -> list[StepStatistics]:
    """StepOutlier's statistics, one row per node, from SageMaker's report or one written by breedclf."""
    rows = []
    for node, values in section(details, "step_details").items():
        if not isinstance(values, dict):
            continue
        measured = numbers(values, "step_stats")
        if "mean" not in measured or not is_number(values.get("stddev")):
            continue
        counts, edges = histogram_of(values)
        rows.append(
            StepStatistics(
                node=str(node),
                phase=phase_name(str(values.get("phase", ""))),
                steps=round(sum(counts)),
                mean=measured["mean"],
                stddev=float(values["stddev"]),
                outliers=int(values["number_of_outliers"]) if is_number(values.get("number_of_outliers")) else 0,
                percentiles={name: measured[name] for name in _PERCENTILES if name in measured},
                counts=counts,
                edges=edges,
            )
        )
    groups = details.get("groups")
    for group in groups if isinstance(groups, list) else []:
        if isinstance(group, dict) and all(is_number(group.get(name)) for name in ("steps", "mean", "stddev")):
            found = group.get("outliers")
            rows.append(
                StepStatistics(
                    node=str(group.get("node", "")),
                    phase=str(group.get("phase", "")),
                    steps=int(group["steps"]),
                    mean=float(group["mean"]),
                    stddev=float(group["stddev"]),
                    outliers=len(found) if isinstance(found, list) else 0,
                    percentiles={},
                    counts=[],
                    edges=[],
                )
            )
    return rows


def histogram_of(values: dict[str, Any]) -> tuple[list[float], list[float]]:
    """The counts and bin edges of a histogram in AWS's format (`probs`, `binedges`); empty if they are invalid."""
    counts, edges = values.get("probs"), values.get("binedges")
    if not (isinstance(counts, list) and isinstance(edges, list) and len(edges) == len(counts) + 1 > 1):
        return [], []
    if not all(is_number(value) and value >= 0 for value in counts) or not all(map(is_number, edges)):
        return [], []
    if any(later < earlier for earlier, later in pairwise(edges)):
        return [], []
    return [float(value) for value in counts], [float(value) for value in edges]
