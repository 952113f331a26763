"""Reader of Chrome traces exported by torch.profiler: operators by self time, and steps."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

from breedclf.errors import ProfileError
from breedclf.files.paths import StrPath
from breedclf.profiling.columns import MOST_SECONDS
from breedclf.profiling.profile import JobInfo, Loader, Profile, Provenance
from breedclf.profiling.readers.builder import Recorded
from breedclf.profiling.readers.framework_events import whole_objects
from breedclf.profiling.readers.operators import GPU_CATEGORIES, operators_of
from breedclf.profiling.reported import is_number

MAX_BYTES = 4_000_000_000
MOST_MICROSECONDS = MOST_SECONDS / 4 * 1e6  # so that base plus event time is valid in a profile
_STEP = re.compile(r"^ProfilerStep#\d+$")


def read_torch_trace(path: StrPath) -> Profile:
    """Read a `*.pt.trace.json` (or `.json.gz`) into a profile.

    Raises:
        ProfileError: the file can't be read, is empty, or isn't a trace.
    """
    path = Path(path)
    text = _text(path)
    notes = []
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        inner = text[text.find('"traceEvents"') :] if '"traceEvents"' in text else text
        document = {"traceEvents": list(whole_objects(inner))}
        notes.append(f"{path.name} is truncated or damaged: only complete events were read")
    events = document.get("traceEvents") if isinstance(document, dict) else document
    timed = [event for event in events if _is_timed(event)] if isinstance(events, list) else []
    if not timed:
        what = "is empty" if not text.strip() else "has no timed events"
        raise ProfileError(f"trace {path} {what}: export it with torch.profiler's export_chrome_trace")
    base = document.get("baseTimeNanoseconds", 0) if isinstance(document, dict) else 0
    since = base / 1e9 if is_number(base) and 0 <= base < MOST_MICROSECONDS * 1e3 else 0.0
    return _profile(path, timed, max(since, -min(event["ts"] for event in timed) / 1e6), notes)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ProfileError(f"trace {path} is larger than {MAX_BYTES / 1e9:.0f} GB: trace only three to five steps")
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return file.read()
        return path.read_text(encoding="utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ProfileError(f"trace {path} can't be read: {error}") from error


def _is_timed(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and event.get("ph") == "X"
        and is_number(event.get("ts"))
        and is_number(event.get("dur"))
        and abs(event["ts"]) < MOST_MICROSECONDS
        and 0 <= event["dur"] < MOST_MICROSECONDS
        and all(isinstance(event.get(key), str | int | float | None) for key in ("cat", "pid", "tid"))
    )


def _profile(path: Path, timed: list[dict[str, Any]], base: float, notes: list[str]) -> Profile:
    recorded = Recorded(notes=notes)
    for event in timed:
        if _STEP.match(str(event.get("name", ""))) and event.get("cat") != "gpu_user_annotation":
            recorded.steps.append((base + event["ts"] / 1e6, event["dur"] / 1e6, "train", "local"))
    start = base + min(event["ts"] for event in timed) / 1e6
    end = base + max(event["ts"] + event["dur"] for event in timed) / 1e6
    operators = operators_of(timed)
    gpus = {event.get("pid") for event in timed if event.get("cat") in GPU_CATEGORIES}
    waits = [event["dur"] / 1e6 for event in timed if str(event.get("name", "")).startswith("enumerate(DataLoader)")]
    if waits:
        notes.append(f"waiting for the DataLoader took {sum(waits):.3f} s in {len(waits)} batches")
    return Profile(
        job=JobInfo(
            name=path.name.split(".")[0],
            source="torch trace",
            start=start,
            end=end,
            device="cuda" if gpus else "cpu",
            gpus=len(gpus),
        ),
        steps=recorded.steps_since(start),
        operators=operators,
        loader=Loader(),
        provenance=Provenance(notes=tuple(recorded.notes)),
    )
