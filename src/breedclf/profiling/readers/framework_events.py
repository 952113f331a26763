"""Reader of the event files that frameworks leave in `framework/`: PyTorch, TensorFlow, Horovod, SageMaker's own."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from breedclf.profiling.columns import MOST_SECONDS
from breedclf.profiling.readers.builder import Recorded
from breedclf.profiling.readers.files import read_text
from breedclf.profiling.reported import PHASES

EVENTS_IN_NAME = re.compile(r"(timeline|\.trace)\.json(\.gz)?$")
_PROCESS_IN_NAME = re.compile(r"_(\d+)-(.+?)_(pythontimeline|\w+_timeline)")
_STEP_PHASE = re.compile(r"^(?:Step:)?(?:ModeKeys\.)?(TRAIN|EVAL|PREDICT|GLOBAL)$", re.IGNORECASE)
_OPERATORS = re.compile(r"^(cpu|gpu)_functions")  # as phases of AWS's detailed profiling
_DEVICE = re.compile(r"^/(device:(GPU|TPU)|host:CPU|job:)", re.IGNORECASE)  # as processes of TensorFlow's traces
_COMMUNICATION = re.compile(r"horovod|smdataparallel|herring", re.IGNORECASE)  # files of those that exchange gradients
_LOADER_EVENTS = re.compile(r"dataloader|dataiter", re.IGNORECASE)

_OTHER_KINDS = {
    ".pb": "protocol buffers of TensorFlow's profiler: open them in TensorBoard",
    ".tfevents": "smdebug tensors or TensorBoard summaries: give the folder of the trial itself",
    ".pstats": "profiles of Python functions: open them with Python's pstats module",
    "": "a file without a suffix, such as cProfile's python_stats: open it with Python's pstats module",
    ".html": "HTML reports",
    ".csv": "tables",
    ".parquet": "tables",
}
_READ_ELSEWHERE = {".ts"}


def read_events_file(path: Path, recorded: Recorded, workers: dict[str, set[Any]]) -> None:
    """Add a file's steps, operators and DataLoader workers; other events are counted in the notes."""
    found = _PROCESS_IN_NAME.search(path.name)
    node = f"{found.group(2)}-{found.group(1)}" if found else "algo-1"  # host and process, AWS's naming of nodes
    reader = _EventReader(recorded, workers, node, found.group(3) if found else path.name)
    events = _events(read_text(path, recorded), path.name, recorded)
    for event in sorted(events, key=lambda event: event.get("ph") != "M"):  # process names and clock origins first
        reader.add(event)
    reader.end(path.name)


def note_skipped(root: Path, recorded: Recorded) -> None:
    """Note the kinds of events and files in a profiler folder that aren't supported, with the reason."""
    for (file, what), number in sorted(recorded.skipped.items()):
        recorded.note(
            f"{number:,} events of {what} in {file} files were skipped: not steps, operators or DataLoader workers"
        )
    kinds = Counter(
        _kind(path)
        for folder in ("system", "framework")
        for path in (root / folder).rglob("*")
        if path.is_file() and not path.name.startswith(".") and not _is_read(path, folder)
    )
    for kind, number in sorted(kinds.items()):
        reason = _OTHER_KINDS.get(kind, "unsupported file type")
        recorded.note(f"skipped {number} {f'*{kind}' if kind else 'unnamed'} files ({reason})")


def _is_read(path: Path, folder: str) -> bool:
    if path.suffix in _READ_ELSEWHERE:
        return True
    return ".json" in path.suffixes if folder == "system" else bool(EVENTS_IN_NAME.search(path.name))


def _kind(path: Path) -> str:
    return next((kind for kind in (".tfevents",) if kind in path.name), path.suffix)


class _EventReader:
    """Collects the events of one file, by process."""

    def __init__(self, recorded: Recorded, workers: dict[str, set[Any]], node: str, kind: str) -> None:
        self._recorded = recorded
        self._workers = workers
        self._node = node
        self._origin: float | None = None
        self._phases: dict[Any, str] = {}
        self._open: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
        self._kind = kind

    def add(self, event: dict[str, Any]) -> None:
        arguments = event.get("args")
        arguments = arguments if isinstance(arguments, dict) else {}
        process = _plain(event.get("pid"))
        match event.get("ph"):
            case "M" if "start_time_since_epoch_in_micros" in arguments:
                origin = _number(arguments["start_time_since_epoch_in_micros"]) / 1e6
                self._origin = origin if 0 <= origin < MOST_SECONDS else None
            case "M" if event.get("name") == "process_name":
                self._phases[process] = str(arguments.get("name", ""))
            case "X":
                self._timed(event, arguments, process)
            case "B":
                self._open[process, _plain(event.get("tid"))].append(event)
            case "E":
                open_events = self._open[process, _plain(event.get("tid"))]
                if open_events:
                    start = open_events.pop()
                    length = _number(event.get("ts")) - _number(start.get("ts"))
                    self._timed({**start, "dur": length}, arguments, process)

    def end(self, name: str) -> None:
        """Note events that never ended."""
        if unfinished := sum(map(len, self._open.values())):
            self._recorded.note(f"{name}: {unfinished} events never end and were skipped")

    def _timed(self, event: dict[str, Any], arguments: dict[str, Any], process: Any) -> None:
        start = (self._origin or 0.0) + _number(event.get("ts")) / 1e6
        duration = _number(event.get("dur")) / 1e6
        if not (0 <= start < MOST_SECONDS and abs(duration) < MOST_SECONDS):
            self._recorded.note("events without a valid time were skipped")
            return
        name, phase = str(event.get("name", "")), self._phases.get(process, "")
        if step := _STEP_PHASE.match(phase) or _STEP_PHASE.match(name):
            self._recorded.steps.append((start, duration, PHASES[step.group(1).upper()], self._node))
        elif device := self._device(phase):
            if duration >= 0:
                thread = _plain(arguments.get("tid", event.get("tid")))
                self._recorded.operators.append(
                    {
                        "name": name,
                        "cat": "cpu_op" if device == "cpu" else "kernel",
                        "pid": f"{self._node} {phase}",
                        "tid": thread,
                        "ts": start * 1e6,
                        "dur": duration * 1e6,
                        "dated": self._origin is not None,
                    }
                )
        elif _LOADER_EVENTS.search(phase) or _LOADER_EVENTS.search(name):
            worker = _plain(arguments.get("worker_id", arguments.get("pid", event.get("tid"))))
            if worker is not None:
                self._workers.setdefault(self._node, set()).add(worker)
            else:
                self._recorded.skipped[self._kind, f"{phase or 'no process'} ({name})"] += 1
        else:
            self._recorded.skipped[self._kind, phase or name] += 1

    def _device(self, phase: str) -> str:
        """The device of an operator; empty if it isn't an operator."""
        if found := _OPERATORS.match(phase):
            return found.group(1)
        if _DEVICE.match(phase):
            return "cpu" if "cpu" in phase.lower() else "gpu"
        return "cpu" if _COMMUNICATION.search(self._kind) else ""


def _events(text: str, name: str, recorded: Recorded) -> Iterator[dict[str, Any]]:
    """The events of an array, even if it is truncated or still being written."""
    if not text.strip():
        recorded.note(f"{name} is empty")
        return
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        recorded.note(f"{name} is truncated or damaged: only complete events were read")
        whole = list(whole_objects(text))
    if isinstance(whole, dict):
        whole = whole.get("traceEvents", [])
    if not isinstance(whole, list):
        recorded.note(f"{name} has no list of events")
        return
    yield from (event for event in whole if isinstance(event, dict))


def whole_objects(text: str) -> Iterator[dict[str, Any]]:
    """Every complete top-level object of a damaged array."""
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


def _plain(value: Any) -> Any:
    """A number or text as it is; anything else as its text."""
    return value if isinstance(value, str | int | float | None) else str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
