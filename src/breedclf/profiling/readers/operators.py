"""Computes operators' self time from events in torch.profiler's format."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from breedclf.profiling.profile import Operator

GPU_CATEGORIES = {"kernel", "gpu_memcpy", "gpu_memset", "gpu_op"}


@dataclass
class _Total:
    calls: int = 0
    self_us: float = 0.0
    inclusive_us: float = 0.0


def operators_of(timed: list[dict[str, Any]]) -> tuple[Operator, ...]:
    """Operators and GPU kernels with their self time, which excludes nested operators."""
    totals: dict[tuple[str, Literal["cpu", "gpu"]], _Total] = defaultdict(_Total)
    threads: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
    for event in timed:
        if event.get("cat") == "cpu_op":
            threads[event.get("pid"), event.get("tid")].append(event)
        elif event.get("cat") in GPU_CATEGORIES:
            total = totals[str(event.get("name", "")), "gpu"]
            total.calls += 1
            total.self_us += event["dur"]
            total.inclusive_us += event["dur"]
    for events in threads.values():
        _add_self_times(events, totals)
    return tuple(
        Operator(
            name=name,
            device=device,
            calls=total.calls,
            self_seconds=max(0.0, total.self_us) / 1e6,
            inclusive_seconds=total.inclusive_us / 1e6,
        )
        for (name, device), total in sorted(totals.items(), key=lambda item: -item[1].self_us)
    )


def _add_self_times(events: list[dict[str, Any]], totals: dict[tuple[str, Literal["cpu", "gpu"]], _Total]) -> None:
    open_calls: list[tuple[float, _Total]] = []  # (end, total of the operator)
    for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        while open_calls and event["ts"] >= open_calls[-1][0]:
            open_calls.pop()
        total = totals[str(event.get("name", "")), "cpu"]
        total.calls += 1
        total.self_us += event["dur"]
        if all(total is not outer for _, outer in open_calls):  # recursive calls count once
            total.inclusive_us += event["dur"]
        if open_calls:
            open_calls[-1][1].self_us -= event["dur"]
        open_calls.append((event["ts"] + event["dur"], total))
