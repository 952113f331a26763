"""Exports the run as a trace for Perfetto and Chrome: stages, steps, their parts, operators, and counters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from breedclf.files.paths import StrPath
from breedclf.profiling.profile import PARTS, Profile

MOST_STEPS_WITH_PARTS = 20_000
_STAGES, _STEPS, _PARTS_TRACK = 1, 2, 3
_OPERATORS_PID = 1_000


def write_trace(profile: Profile, path: StrPath, operators: Iterable[dict[str, Any]] = ()) -> None:
    """Write `trace.json`; `operators` are events of torch.profiler with `ts` in microseconds since 1970."""
    with Path(path).open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        for number, event in enumerate(trace_events(profile, operators)):
            file.write(("," if number else "") + json.dumps(event, separators=(",", ":")) + "\n")
        file.write("]}\n")


def trace_events(profile: Profile, operators: Iterable[dict[str, Any]] = ()) -> Iterator[dict[str, Any]]:
    """Generate trace events, with times in microseconds since the start of the job."""
    nodes = profile.nodes or ("local",)
    for pid, node in enumerate(nodes, 1):
        yield _meta("process_name", pid, 0, node)
        for tid, name in ((_STAGES, "stages"), (_STEPS, "steps"), (_PARTS_TRACK, "parts of steps")):
            yield _meta("thread_name", pid, tid, name)
    spans = profile.spans
    for name, start, length in zip(spans.name, spans.start, spans.duration, strict=True):
        yield _span(name, float(start), float(length), 1, _STAGES)
    yield from _steps(profile, {node: pid for pid, node in enumerate(nodes, 1)})
    for series in profile.system.series:
        pid = nodes.index(series.node) + 1
        for time, value in zip(series.time.tolist(), series.value.tolist(), strict=True):
            track = f"{series.kind} {series.name}"
            yield {"ph": "C", "name": track, "pid": pid, "ts": round(time * 1e6, 1), "args": {"value": round(value, 3)}}
    yield from _operators(profile, operators)


def _steps(profile: Profile, pids: dict[str, int]) -> Iterator[dict[str, Any]]:
    steps = profile.steps
    with_parts = len(steps) <= MOST_STEPS_WITH_PARTS
    for i in range(len(steps)):
        pid = pids[steps.nodes[steps.node[i]]]
        start = float(steps.start[i])
        arguments = {
            "step": i,
            "epoch": int(steps.epoch[i]),
            "pictures": int(steps.images[i]),
            "traced": bool(steps.traced[i]),
        }
        yield _span(steps.phases[steps.phase[i]], start, float(steps.duration[i]), pid, _STEPS, arguments)
        for part in PARTS if with_parts else ():
            length = float(steps.parts[part][i]) if part in steps.parts else 0.0
            if length > 0:
                yield _span(part, start, length, pid, _PARTS_TRACK)
                start += length


def _operators(profile: Profile, operators: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    named = False
    for event in operators:
        if not named:
            named = True
            yield _meta("process_name", _OPERATORS_PID, 0, "operators of traced steps")
        start = event["ts"] / 1e6 - profile.job.start
        yield _span(str(event["name"]), start, event["dur"] / 1e6, _OPERATORS_PID, int(event.get("tid", 1)))


def _span(
    name: str, start: float, length: float, pid: int, tid: int, arguments: dict[str, Any] | None = None
) -> dict[str, Any]:
    event = {
        "ph": "X",
        "name": name,
        "pid": pid,
        "tid": tid,
        "ts": round(start * 1e6, 1),
        "dur": round(length * 1e6, 1),
    }
    return {**event, "args": arguments} if arguments else event


def _meta(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
