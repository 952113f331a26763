"""What checks and reviews have found out about a dataset, from the files that they left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.overview.datasets import journeys_in
from breedclf.overview.parsed_files import ParsedFiles
from breedclf.overview.tasks import OUTPUT_FILE, TaskView
from breedclf.overview.whole_paths import whole_path

CHECK, REVIEW = "check", "review"
"""The kinds of tasks whose results these are; their subject is the dataset's path."""
REVIEW_FILE, MOVES_FILE, REPORT_FILE = "review.json", "moves.csv", "report.html"
_MAX_REVIEWS = 500


@dataclass(frozen=True)
class FoundProblem:
    """A problem of a check: its kind, the file or folder, and what is wrong."""

    kind: str
    path: str
    detail: str


@dataclass(frozen=True)
class CheckFindings:
    """The result of a check; `source` says what ran it, `time` when (seconds since 1970, UTC) if that is known."""

    source: str
    time: float | None
    images: int
    readable: int
    classes: int
    problems: tuple[FoundProblem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SimilarImage:
    """An image, its class, and the cosine similarity to another one, from -1 to 1."""

    path: str
    label: str
    similarity: float


@dataclass(frozen=True)
class SuspectImage:
    """An image whose label may be wrong, with `probability_wrong` from 0 to 1, and the images most like it."""

    path: str
    split: str
    given: str
    proposed: str
    probability_wrong: float
    neighbors: tuple[SimilarImage, ...]


@dataclass(frozen=True)
class SimilarGroup:
    """Near duplicates: images that are probably one photo, each with its split and class."""

    images: tuple[tuple[str, str, str], ...]
    similarity: float
    across_splits: bool


@dataclass(frozen=True)
class OutlyingImage:
    """An image far from all others; `distance` is 1 minus a similarity."""

    path: str
    split: str
    given: str
    distance: float


@dataclass(frozen=True)
class ReviewFindings:
    """The result of a review, the folder of its files, and when it was written (seconds since 1970, UTC)."""

    folder: Path
    time: float
    data: str
    images: int
    suspects: tuple[SuspectImage, ...] = ()
    near_duplicates: tuple[SimilarGroup, ...] = ()
    outliers: tuple[OutlyingImage, ...] = ()
    refused: str = ""
    accuracy: float | None = None
    expected_precision: float | None = None
    skipped: tuple[str, ...] = ()

    @property
    def moves(self) -> Path:
        """The table of proposed moves, which may be edited."""
        return self.folder / MOVES_FILE

    @property
    def report(self) -> Path:
        """The review's own report."""
        return self.folder / REPORT_FILE


@dataclass
class Findings:
    """Reads results of checks and reviews; each file is parsed once until it changes."""

    home: Path
    runs: Path
    _checks: ParsedFiles[CheckFindings] = field(
        default_factory=lambda: ParsedFiles(lambda file, values: check_findings(values, "", file.stat().st_mtime))
    )
    _reviews: ParsedFiles[ReviewFindings] = field(default_factory=lambda: ParsedFiles(review_findings))

    def check(self, path: str, tasks: Iterable[TaskView]) -> CheckFindings | None:
        """The latest check of a dataset: one that was started here, or that of a journey."""
        for task in tasks:
            if (task.kind, task.subject, task.status) == (CHECK, path, "Completed"):
                found = self._checks.of(task.folder / OUTPUT_FILE)
                if found is not None:
                    return found
        return journey_check(path, self.runs)

    def review(self, path: str, key: str) -> ReviewFindings | None:
        """The latest review of a dataset: one that was started here, or one in the folder of runs."""
        found = [self._reviews.of(review_folder(self.home, key) / REVIEW_FILE)]
        try:
            folders = sorted(self.runs.iterdir())[:_MAX_REVIEWS]
        except OSError:
            folders = []
        found += [self._reviews.of(folder / REVIEW_FILE) for folder in folders]
        of_it = [each for each in found if each is not None and each.data and whole_path(each.data) == path]
        return max(of_it, key=lambda each: each.time, default=None)


def review_folder(home: Path, key: str) -> Path:
    """Where reviews that the console starts leave their files."""
    return home / "console" / "reviews" / key


def check_findings(values: Mapping[str, Any], source: str, time: float | None) -> CheckFindings:
    """The result of a check from its document.

    Raises:
        KeyError, TypeError, ValueError: it isn't one.
    """
    return CheckFindings(
        source,
        time,
        int(values["pictures"]),
        int(values["readable"]),
        len(values["classes"]),
        tuple(FoundProblem(str(each["kind"]), str(each["path"]), str(each["detail"])) for each in values["problems"]),
        tuple(str(note) for note in values["notes"]),
    )


def journey_check(path: str, runs: Path) -> CheckFindings | None:
    """The check of a journey with this dataset, of the last of them by name."""
    found = None
    for folder, record in journeys_in(runs):
        step = record.step("check")
        if step is None or whole_path(str(step.inputs.get("dataset", ""))) != path:
            continue
        try:
            found = check_findings(step.outcome.values, f"journey {folder.name}", None)
        except (KeyError, TypeError, ValueError):
            continue
    return found


def review_findings(file: Path, values: Mapping[str, Any]) -> ReviewFindings:
    """The result of a review from its document, in which `folder` is the dataset.

    Raises:
        KeyError, TypeError, ValueError: it isn't one.
    """
    return ReviewFindings(
        file.parent,
        file.stat().st_mtime,
        str(values.get("folder") or ""),
        int(values["count"]),
        tuple(_suspect(each) for each in values["suspects"]),
        tuple(_group(each) for each in values["near_duplicates"]),
        tuple(
            OutlyingImage(str(each["path"]), str(each["split"]), str(each["given"]), float(each["distance"]))
            for each in values["outliers"]
        ),
        str(values["refused"] or ""),
        _number(values.get("accuracy")),
        _number(values.get("expected_precision")),
        tuple(str(each) for each in values["skipped"]),
    )


def _suspect(values: Mapping[str, Any]) -> SuspectImage:
    neighbors = tuple(
        SimilarImage(str(each["path"]), str(each["class"]), float(each["similarity"])) for each in values["neighbours"]
    )
    given, proposed = str(values["given"]), str(values["proposed"])
    return SuspectImage(
        str(values["path"]), str(values["split"]), given, proposed, float(values["probability_wrong"]), neighbors
    )


def _group(values: Mapping[str, Any]) -> SimilarGroup:
    images = zip(values["paths"], values["splits"], values["labels"], strict=True)
    return SimilarGroup(
        tuple((str(path), str(split), str(label)) for path, split, label in images),
        float(values["similarity"]),
        bool(values["across_splits"]),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
