"""Jobs as lists and pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.jobs import Backend, JobDescription
from breedclf.overview.described import Described

TUNING_TAG = "breedclf-tuning"


@dataclass(frozen=True)
class JobView(Described[JobDescription]):
    """A job in a list: its state, and the search that it belongs to, if any."""

    search: str = ""

    @property
    def doing(self) -> str:
        """The secondary status."""
        return "–" if self.is_damaged else str(self.description.secondary_status)

    @property
    def is_active(self) -> bool:
        """Whether it hasn't ended."""
        return not self.description.status.is_final

    def to_dict(self) -> dict[str, Any]:
        """The document of `breedclf jobs list --json` and of `/api/jobs`."""
        return {**self.description.to_dict(), "seconds": self.description.seconds, "search": self.search or None}


@dataclass(frozen=True)
class Choice:
    """Which jobs of a list are wanted: words, a status, and a page of `size`, from 1.

    Each word is part of a job's name, of its search or of a hyperparameter's value, or it is NAME=VALUE: a
    hyperparameter and the whole of its value.
    """

    words: str = ""
    status: str = ""
    page: int = 1
    size: int = 50


@dataclass(frozen=True)
class Chosen:
    """A page of a list: its jobs, how many match in all, and how many jobs have each status."""

    jobs: tuple[JobView, ...]
    count: int
    page: int
    pages: int
    statuses: dict[str, int]


def job_views(backend: Backend) -> tuple[JobView, ...]:
    """All jobs of a backend, oldest first.

    Raises:
        BreedclfError: the backend can't be asked.
    """
    return tuple(job_view(description) for description in backend.list_jobs())


def job_view(description: JobDescription) -> JobView:
    """The view of a described job."""
    return JobView(description, str(description.tags.get(TUNING_TAG, "")))


def choose(jobs: Sequence[JobView], choice: Choice) -> Chosen:
    """The page of the jobs that match, newest first.

    Example:
        >>> choose([], Choice(words="beagle")).pages
        1
    """
    words = choice.words.casefold().split()
    matching = [job for job in reversed(jobs) if all(_has(job, word) for word in words)]
    statuses: dict[str, int] = {}
    for job in matching:
        statuses[job.status] = statuses.get(job.status, 0) + 1
    found = [job for job in matching if choice.status.casefold() in ("", job.status.casefold())]
    pages = max(1, -(-len(found) // choice.size))
    page = min(max(1, choice.page), pages)
    return Chosen(tuple(found[(page - 1) * choice.size : page * choice.size]), len(found), page, pages, statuses)


def rows(jobs: Iterable[JobView], moment: Any) -> list[tuple[str, ...]]:
    """The rows of `breedclf jobs list`; `moment` formats a time."""
    return [
        (
            job.name,
            job.status,
            "-" if job.is_damaged else job.doing,
            moment(job.description.created),
            "" if job.description.seconds is None else f"{job.description.seconds:.1f}",
        )
        for job in jobs
    ]


def _has(job: JobView, word: str) -> bool:
    if word in job.name.casefold() or word in job.search.casefold():
        return True
    pairs = job.description.hyperparameters
    name, is_pair, wanted = word.partition("=")
    if is_pair:
        return _same(pairs.get(name.replace("-", "_"), ""), wanted)
    return any(word in value.casefold() for value in pairs.values())


def _same(value: str, wanted: str) -> bool:
    """Whether a hyperparameter has this value; 0.010 is 0.01, and quotes around texts don't count."""
    if value.casefold().strip('"') == wanted:
        return True
    try:
        return float(value) == float(wanted)
    except ValueError:
        return False
