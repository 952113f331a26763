"""Journeys in the folder of runs: each of their steps, and which one runs now."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from breedclf.errors import BreedclfError
from breedclf.journey.page.parts import HEADINGS
from breedclf.journey.record import FILE_NAME, JourneyRecord, StepRecord
from breedclf.journey.result import PAGE_FILE
from breedclf.overview.folders import WatchedFolders, key_of

StepState = Literal["Completed", "Failed", "Refused", "Skipped", "InProgress", "Interrupted", "Planned"]
JourneyState = Literal["Completed", "Failed", "Refused", "InProgress", "Interrupted", "Damaged"]
_DONE = ("Completed", "Skipped")


@dataclass(frozen=True)
class StepView:
    """A step of a journey.

    Args:
        name: of the step.
        heading: for people.
        state: as recorded; "Interrupted" if its process is gone, "Planned" if it hasn't run.
        record: what it left; None for a planned one.
        started: when the step that runs now started, in seconds since 1970.
        expected: how many seconds it took when it last ran, of one that is planned or runs.
        report: its HTML report, relative to the journey's folder; None if there is none.
    """

    name: str
    heading: str
    state: StepState
    record: StepRecord | None = None
    started: float | None = None
    expected: float | None = None
    report: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What it found, for links."""
        return {} if self.record is None else self.record.outcome.values

    @property
    def headline(self) -> str:
        """Its result in one sentence."""
        return "" if self.record is None else self.record.outcome.headline

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "status": self.state,
            "seconds": None if self.record is None else self.record.seconds,
            "headline": self.headline,
            "report": self.report,
        }


@dataclass(frozen=True)
class JourneyView:
    """A journey with its steps in order; a damaged one says why in `problem`.

    `changed` is when it was recorded last, in seconds since 1970; `is_known_to_run` is None where its process can't be
    looked for: on another machine, or of an earlier version.
    """

    name: str
    title: str
    folder: Path
    state: JourneyState
    changed: float
    steps: tuple[StepView, ...] = ()
    is_known_to_run: bool | None = None
    problem: str = ""

    @property
    def now(self) -> StepView | None:
        """The step that runs, or at which the journey ended early."""
        early = ("InProgress", "Interrupted", "Failed", "Refused")
        return next((step for step in self.steps if step.state in early), None)

    @property
    def done(self) -> int:
        """How many steps are done."""
        return sum(step.state in _DONE for step in self.steps)

    @property
    def page(self) -> str | None:
        """The journey's own page, relative to its folder; None if there is none."""
        return readable_report(self.folder, PAGE_FILE)

    @property
    def reports(self) -> frozenset[str]:
        """The HTML files, relative to the folder, that belong to the journey."""
        found = (self.page, *(step.report for step in self.steps))
        return frozenset(report for report in found if report is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "status": self.state,
            "changed": self.changed,
            "problem": self.problem or None,
            "steps": [step.to_dict() for step in self.steps],
        }


def readable_report(folder: Path, report: str | None) -> str | None:
    """The path of an HTML report relative to a folder, if it is a file in it; links that lead out of it aren't."""
    if not report or not report.endswith(".html") or "\0" in report:
        return None
    try:
        place, root = (folder / report).resolve(), folder.resolve()
        return str(place.relative_to(root)) if place.is_relative_to(root) and place.is_file() else None
    except (OSError, RuntimeError):
        return None


def journey_view(
    name: str, title: str, folder: Path, record: JourneyRecord, changed: float, *, runs: bool | None
) -> JourneyView:
    """The view of a record.

    Args:
        name: in addresses.
        title: for people.
        folder: of the journey.
        record: its steps.
        changed: when it was recorded, in seconds since 1970; a step in progress started then.
        runs: whether a process runs it; None if that isn't known.
    """
    steps = tuple(_steps(record, folder, changed, runs=runs))
    states = {step.state for step in steps}
    state: JourneyState = "InProgress"
    if "InProgress" not in states and not runs:
        last: tuple[JourneyState, ...] = ("Failed", "Refused")
        over: JourneyState = "Interrupted" if states - set(_DONE) else "Completed"
        state = next((each for each in last if each in states), over)
    return JourneyView(name, title, folder, state, changed, steps, runs)


def _steps(record: JourneyRecord, folder: Path, changed: float, *, runs: bool | None) -> Iterator[StepView]:
    names = [*HEADINGS, *(step.name for step in record.steps if step.name not in HEADINGS)]
    for name in names:
        step, heading, expected = record.step(name), HEADINGS.get(name, name), record.durations.get(name)
        if step is None:
            yield StepView(name, heading, "Planned", expected=expected)
        elif step.status == "InProgress" and runs is False:
            yield StepView(name, heading, "Interrupted", step, expected=expected)
        elif step.status == "InProgress":
            yield StepView(name, heading, "InProgress", step, started=changed, expected=expected)
        else:
            yield StepView(name, heading, step.status, step, report=readable_report(folder, step.outcome.report))


@dataclass
class Journeys:
    """Finds and reads journeys; a record that hasn't changed isn't read again. Any number of threads may ask."""

    runs: WatchedFolders
    root: Path
    _records: dict[Path, tuple[tuple[int, int], JourneyRecord | str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def all(self) -> tuple[JourneyView, ...]:
        """All journeys, those that changed last first."""
        views = [view for folder in self.runs.holding(FILE_NAME) if (view := self._view(folder)) is not None]
        return tuple(sorted(views, key=lambda view: (-view.changed, view.name)))

    def one(self, name: str) -> JourneyView | None:
        """The journey of this name; None if there is none."""
        folders = (folder for folder in self.runs.holding(FILE_NAME) if key_of(folder, self.root) == name)
        return next((self._view(folder) for folder in folders), None)

    def _view(self, folder: Path) -> JourneyView | None:
        name, shown = key_of(folder, self.root), str(folder.relative_to(self.root))
        title = folder.absolute().name if shown == "." else shown
        try:
            stat = (folder / FILE_NAME).stat()
        except OSError:
            return None
        record, changed = self._record(folder, (stat.st_mtime_ns, stat.st_size)), stat.st_mtime
        if isinstance(record, str):
            return JourneyView(name, title, folder, "Damaged", changed, problem=record)
        runs = _runs(record)
        return journey_view(name, title, folder, record, changed, runs=runs)

    def _record(self, folder: Path, signature: tuple[int, int]) -> JourneyRecord | str:
        with self._lock:
            known = self._records.get(folder)
            if known is not None and known[0] == signature:
                return known[1]
            record: JourneyRecord | str
            try:
                record = JourneyRecord.load(folder)
            except BreedclfError as error:
                record = str(error)
            self._records[folder] = (signature, record)
            return record


def _runs(record: JourneyRecord) -> bool | None:
    """Whether a process runs the journey; None if that isn't known, as for records of earlier versions."""
    if record.run_by is not None:
        return record.run_by.is_alive
    return None if any(step.status == "InProgress" for step in record.steps) else False
