"""Reader of the folders that SageMaker's profiler leaves on S3: system lines, framework events, the end marker."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from breedclf.errors import ProfileError
from breedclf.profiling.profile import JobInfo, Loader, Profile, Provenance, SeriesKind, System
from breedclf.profiling.readers.builder import Recorded
from breedclf.profiling.readers.operators import operators_of
from breedclf.profiling.reported import PHASES

SYSTEM = "system"
FRAMEWORK = "framework"
END_MARKER = "training_job_end.ts"
MAX_FILE_BYTES = 2_000_000_000
_PROCESS_IN_NAME = re.compile(r"_(\d+)-(.+)_pythontimeline")
_STEP_PHASE = re.compile(r"^(?:Step:)?(?:ModeKeys\.)?(TRAIN|EVAL|PREDICT|GLOBAL)$", re.IGNORECASE)
_OPERATORS = re.compile(r"^(cpu|gpu)_functions")  # as phases of AWS's detailed profiling
_LOADER_EVENTS = re.compile(r"dataloader|dataiter", re.IGNORECASE)

# What the lines call a quantity: (pattern on "type dimension name", our kind, factor).
_KINDS: tuple[tuple[re.Pattern[str], SeriesKind, float], ...] = (
    (re.compile(r"i/?owait|iowait", re.I), "io_wait", 1.0),
    (re.compile(r"gpu.*memory", re.I), "gpu_memory", 1.0),
    (re.compile(r"\bgpu", re.I), "gpu", 1.0),
    (re.compile(r"\bcpu .*utili[sz]ation|\bcpu cpu", re.I), "cpu", 1.0),
    (re.compile(r"memoryusedpercent|memory.*(percent|utili[sz]ation)|\bmemory", re.I), "memory", 1.0),
    (re.compile(r"(disk|i/?o|storage).*read.*byte|read.*throughput", re.I), "disk_read", 1.0),
    (re.compile(r"(disk|i/?o|storage).*writ.*byte|writ.*throughput", re.I), "disk_write", 1.0),
    (re.compile(r"network.*(byte|receive|transmit|throughput)", re.I), "network", 1.0),
)


def is_profiler_folder(folder: Path) -> bool:
    """Whether this looks like `profiler-output` (or holds one)."""
    return _root(folder) is not None


def read_profiler_folder(folder: str | Path, *, name: str | None = None) -> Profile:
    """Read `profiler-output` with its `system/` and `framework/` parts; either may be missing.

    Damaged lines and files are left out and counted in `provenance.notes`.

    Raises:
        ProfileError: there is no such folder, or nothing in it can be read.
    """
    root = _root(Path(folder))
    if root is None:
        raise ProfileError(
            f"{folder} holds neither {SYSTEM}/ nor {FRAMEWORK}/: give the folder profiler-output of a job"
        )
    recorded = Recorded()
    for path in sorted(p for p in (root / SYSTEM).rglob("*.json*") if p.is_file()):
        _read_system_file(path, recorded)
    workers: dict[str, set[Any]] = {}
    for path in sorted(p for p in (root / FRAMEWORK).rglob("*timeline.json*") if p.is_file()):
        _read_events_file(path, recorded, workers)
    bounds = recorded.bounds()
    if bounds is None:
        why = f": {'; '.join(recorded.notes[:3])}" if recorded.notes else ""
        raise ProfileError(f"nothing in {root} can be read{why}")
    return _profile(root, name or _job_name(root), recorded, bounds, workers)


def _root(folder: Path) -> Path | None:
    for candidate in (folder, folder / "profiler-output"):
        if (candidate / SYSTEM).is_dir() or (candidate / FRAMEWORK).is_dir():
            return candidate
    return None


def _job_name(root: Path) -> str:
    return root.parent.name if root.name == "profiler-output" and root.parent.name else root.name


def _profile(
    root: Path, name: str, recorded: Recorded, bounds: tuple[float, float], workers: dict[str, set[Any]]
) -> Profile:
    start, last = bounds
    end = _end_marker(root)
    steps = recorded.steps_since(start)
    series = recorded.series_since(start)
    cores: dict[str, int] = {}
    for one in series:
        if one.kind == "cpu":
            cores[one.node] = cores.get(one.node, 0) + 1
    loaders = [len(found) for found in workers.values()]
    gpus = len({(one.node, one.name) for one in series if one.kind == "gpu"})
    first_step = float(steps.start.min()) if len(steps) else None
    gaps = [float(np.median(np.diff(one.time))) for one in series if len(one.time) > 1]
    return Profile(
        job=JobInfo(
            name=name,
            source="sagemaker",
            status="Completed" if end is not None else "Incomplete",
            start=start,
            end=max(last, end or last),
            initialization_seconds=first_step,
            finalization_seconds=max(0.0, (end or last) - start - float((steps.start + steps.duration).max()))
            if len(steps)
            else None,
            device="cuda" if gpus else "cpu",
            cores=cores,
            gpus=gpus,
        ),
        steps=steps,
        operators=operators_of(recorded.operators),
        loader=Loader(workers=round(sum(loaders) / len(loaders)) if loaders else None),
        system=System(interval_seconds=min(gaps) if gaps else None, series=series),
        provenance=Provenance(created="", notes=tuple(recorded.notes)),
    )


def _end_marker(root: Path) -> float | None:
    """When the job ended, in seconds since 1970; None without a marker."""
    for path in (root / END_MARKER, root / FRAMEWORK / END_MARKER, root.parent / END_MARKER):
        try:
            value = float(path.read_text().strip())
        except OSError:
            continue
        except ValueError:
            return path.stat().st_mtime
        return as_seconds(value)
    return None


def _read_text(path: Path, recorded: Recorded) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            recorded.note(f"{path.name} is larger than {MAX_FILE_BYTES / 1e9:.0f} GB and is left out")
            return ""
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        recorded.note(f"{path.name} can't be read: {error}")
        return ""


def _read_system_file(path: Path, recorded: Recorded) -> None:
    bad = 0
    for line in _read_text(path, recorded).splitlines():
        if line.strip() and not _read_sample(line, recorded):
            bad += 1
    if bad:
        recorded.note(f"{bad} lines of {path.name} are damaged or foreign and are left out")


def _read_sample(line: str, recorded: Recorded) -> bool:
    try:
        sample = json.loads(line)
        time, value = as_seconds(float(sample["Timestamp"])), float(sample["Value"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    if not (math.isfinite(time) and math.isfinite(value)):
        return False
    name = str(sample.get("Name", sample.get("Type", "")))
    described = f"{sample.get('Type', '')} {sample.get('Dimension', '')} {name}"
    for pattern, kind, factor in _KINDS:
        if pattern.search(described):
            recorded.samples[str(sample.get("NodeId", "algo-1")), kind, name].append((time, value * factor))
            return True
    recorded.note(f"samples of {sample.get('Dimension', described)!r} are of no known kind and are left out")
    return True


def _read_events_file(path: Path, recorded: Recorded, workers: dict[str, set[Any]]) -> None:
    found = _PROCESS_IN_NAME.search(path.name)
    node = f"{found.group(2)}-{found.group(1)}" if found else "algo-1"  # host and process, as AWS names a node
    origin, phases = 0.0, {}
    for event in _events(_read_text(path, recorded), path.name, recorded):
        arguments = event.get("args") if isinstance(event.get("args"), dict) else {}
        assert isinstance(arguments, dict)
        if event.get("ph") == "M":
            if "start_time_since_epoch_in_micros" in arguments:
                origin = _number(arguments["start_time_since_epoch_in_micros"]) / 1e6
            elif event.get("name") == "process_name":
                phases[event.get("pid")] = str(arguments.get("name", ""))
        elif event.get("ph") == "X":
            _read_event(event, arguments, phases.get(event.get("pid"), ""), origin, node, recorded, workers)


def _read_event(
    event: dict[str, Any],
    arguments: dict[str, Any],
    phase: str,
    origin: float,
    node: str,
    recorded: Recorded,
    workers: dict[str, set[Any]],
) -> None:
    start, duration = origin + _number(event.get("ts")) / 1e6, _number(event.get("dur")) / 1e6
    if not (math.isfinite(start) and math.isfinite(duration)):
        recorded.note("events without a time are left out")
        return
    name = str(event.get("name", ""))
    step = _STEP_PHASE.match(phase) or _STEP_PHASE.match(name)
    if step:
        recorded.steps.append((start, duration, PHASES[step.group(1).upper()], node))
    elif (operator := _OPERATORS.match(phase)) and duration >= 0:
        category = "cpu_op" if operator.group(1) == "cpu" else "kernel"
        thread = arguments.get("tid", event.get("tid"))
        recorded.operators.append(
            {"name": name, "cat": category, "pid": node, "tid": thread, "ts": start * 1e6, "dur": duration * 1e6}
        )
    elif _LOADER_EVENTS.search(phase) or _LOADER_EVENTS.search(name):
        worker = arguments.get("worker_id", arguments.get("pid", event.get("tid")))
        if worker is not None:
            workers.setdefault(node, set()).add(worker)


def _events(text: str, name: str, recorded: Recorded) -> Iterator[dict[str, Any]]:
    """The events of an array, also of one that is cut short or still open."""
    if not text.strip():
        recorded.note(f"{name} is empty")
        return
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        recorded.note(f"{name} is cut short or damaged: the events that are whole are read")
        whole = list(whole_objects(text))
    if isinstance(whole, dict):
        whole = whole.get("traceEvents", [])
    yield from (event for event in whole if isinstance(event, dict))


def whole_objects(text: str) -> Iterator[dict[str, Any]]:
    """Every complete top-level object of a broken array."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        if isinstance(value, dict):
            yield value
        at = text.find("{", end)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def as_seconds(time: float) -> float:
    """Writers use seconds, milliseconds and microseconds since 1970; the size tells which."""
    for limit, factor in ((1e14, 1e-6), (1e11, 1e-3)):
        if time > limit:
            return time * factor
    return time
