"""Comparisons of two versions of a model that were made before, from the files that they left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.model_store.comparison import ClassWins, FlippedImage, ModelComparison
from breedclf.overview.parsed_files import ParsedFiles
from breedclf.overview.tasks import OUTPUT_FILE, TaskView

COMPARE = "compare"
"""The kind of tasks whose results these are."""
COMPARISON_FILE = "comparison.json"
_MAX_FOLDERS = 500


@dataclass(frozen=True)
class RecordedComparison:
    """A comparison, when it was made (seconds since 1970, UTC), and on which dataset, if that is known."""

    comparison: ModelComparison
    time: float
    data: str = ""


@dataclass
class Comparisons:
    """Reads comparisons of tasks and of the folder of runs; each file is parsed once until it changes."""

    runs: Path
    _files: ParsedFiles[RecordedComparison] = field(
        default_factory=lambda: ParsedFiles(
            lambda file, values: RecordedComparison(comparison_of(values), file.stat().st_mtime)
        )
    )

    def of(self, name: str, first: int, second: int, tasks: Iterable[TaskView]) -> list[RecordedComparison]:
        """The comparisons of two versions of a model, in either order, the latest first."""
        found = []
        pairs = {subject_of(name, *pair, ""): pair for pair in ((first, second), (second, first))}
        for task in tasks:
            start = next((start for start in pairs if task.subject.startswith(start)), None)
            if task.kind == COMPARE and task.status == "Completed" and start is not None:
                read = self._files.of(task.folder / OUTPUT_FILE)
                if read is not None:
                    found.append(RecordedComparison(read.comparison, task.started, task.subject[len(start) :]))
        try:
            folders = sorted(self.runs.iterdir())[:_MAX_FOLDERS]
        except OSError:
            folders = []
        shown = {f"{name} {first}", f"{name} {second}"}
        for folder in folders:
            read = self._files.of(folder / COMPARISON_FILE)
            if read is not None and {read.comparison.a, read.comparison.b} == shown:
                found.append(read)
        return sorted(found, key=lambda each: each.time, reverse=True)


def subject_of(name: str, first: int, second: int, data: str) -> str:
    """What a task compares: two versions of a model on a dataset.

    Example:
        >>> subject_of("dogs", 1, 2, "/data/dogs")
        'dogs 1 2 /data/dogs'
    """
    return f"{name} {first} {second} {data}"


def comparison_of(values: Mapping[str, Any]) -> ModelComparison:
    """A comparison from its document; without the images, which only the process that made it has.

    Raises:
        KeyError, TypeError, ValueError: it isn't one.
    """
    count, both, neither = int(values["count"]), int(values["both"]), int(values["neither"])
    if count < 1:
        raise ValueError("a comparison has at least one image")
    return ModelComparison(
        a=str(values["a"]),
        b=str(values["b"]),
        count=count,
        both=both,
        only_a=int(values["only_a"]),
        only_b=int(values["only_b"]),
        neither=neither,
        p_value=float(values["p_value"]),
        difference=float(values["difference"]),
        difference_interval=_interval(values["difference_interval"]),
        accuracy_a=float(values["accuracy_a"]),
        accuracy_b=float(values["accuracy_b"]),
        interval_a=_interval(values["interval_a"]),
        interval_b=_interval(values["interval_b"]),
        classes=tuple(
            ClassWins(str(each["label"]), int(each["count"]), int(each["only_first"]), int(each["only_second"]))
            for each in values["classes"]
        ),
        flipped=tuple(
            FlippedImage(str(each["image"]), str(each["label"]), str(each["first"]), str(each["second"]))
            for each in values["flipped"]
        ),
        skipped=tuple(str(each) for each in values["skipped"]),
    )


def _interval(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
