"""Reader of SageMaker profiler folders on S3: system samples, framework events, the end marker."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from breedclf.errors import ProfileError
from breedclf.files.paths import StrPath
from breedclf.profiling.columns import LARGEST, MOST_SECONDS
from breedclf.profiling.profile import JobInfo, Loader, Profile, Provenance, SeriesKind, System
from breedclf.profiling.readers.builder import Recorded
from breedclf.profiling.readers.files import read_text
from breedclf.profiling.readers.framework_events import EVENTS_IN_NAME, note_skipped, read_events_file
from breedclf.profiling.readers.operators import operators_of

SYSTEM = "system"
FRAMEWORK = "framework"
END_MARKER = "training_job_end.ts"

# Metric names in the samples: (pattern on "type dimension name", breedclf's kind, factor).
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
    """Whether this is a `profiler-output` folder, or contains one."""
    return _root(folder) is not None


def read_profiler_folder(folder: StrPath, *, name: str | None = None) -> Profile:
    """Read `profiler-output` with its `system/` and `framework/` folders; either may be missing.

    Damaged lines and files are skipped and counted in `provenance.notes`.

    Raises:
        ProfileError: there is no such folder, or nothing in it can be read.
    """
    root = _root(Path(folder))
    if root is None:
        raise ProfileError(f"{folder} has neither {SYSTEM}/ nor {FRAMEWORK}/: give the folder profiler-output of a job")
    recorded = Recorded()
    for path in sorted(p for p in (root / SYSTEM).rglob("*.json*") if p.is_file()):
        _read_system_file(path, recorded)
    workers: dict[str, set[Any]] = {}
    for path in sorted(p for p in (root / FRAMEWORK).rglob("*") if p.is_file()):
        if EVENTS_IN_NAME.search(path.name):
            read_events_file(path, recorded, workers)
    note_skipped(root, recorded)
    bounds = recorded.bounds()
    if bounds is None:
        raise ProfileError(f"nothing in {root} can be read: {'; '.join(recorded.notes[:8]) or 'it has no files'}")
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
    """When the job ended, in seconds since 1970; None without an end marker."""
    for path in (root / END_MARKER, root / FRAMEWORK / END_MARKER, root.parent / END_MARKER):
        try:
            value = float(path.read_text().strip())
        except OSError:
            continue
        except ValueError:
            return path.stat().st_mtime
        return as_seconds(value)
    return None


def _read_system_file(path: Path, recorded: Recorded) -> None:
    bad = 0
    for line in read_text(path, recorded).splitlines():
        if line.strip() and not _read_sample(line, recorded):
            bad += 1
    if bad:
        recorded.note(f"{bad} lines of {path.name} are damaged or unknown and were skipped")


def _read_sample(line: str, recorded: Recorded) -> bool:
    try:
        sample = json.loads(line)
        time, value = as_seconds(float(sample["Timestamp"])), float(sample["Value"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return False
    if not (0 <= time < MOST_SECONDS and abs(value) < LARGEST):
        return False
    name = str(sample.get("Name", sample.get("Type", "")))
    described = f"{sample.get('Type', '')} {sample.get('Dimension', '')} {name}"
    for pattern, kind, factor in _KINDS:
        if pattern.search(described):
            recorded.samples[str(sample.get("NodeId", "algo-1")), kind, name].append((time, value * factor))
            return True
    recorded.note(f"samples of {sample.get('Dimension', described)!r} are of an unknown kind and were skipped")
    return True


def as_seconds(time: float) -> float:
    """Convert a timestamp to seconds; whether it is in seconds, milliseconds or microseconds follows from its size."""
    for limit, factor in ((1e14, 1e-6), (1e11, 1e-3)):
        if time > limit:
            return time * factor
    return time
