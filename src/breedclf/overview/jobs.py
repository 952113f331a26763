"""Jobs as lists and pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.jobs import Backend, JobDescription
from breedclf.overview.lists import Choice, Chosen, Described, chosen

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


def job_views(backend: Backend) -> tuple[JobView, ...]:
    """All jobs of a backend, oldest first.

    Raises:
        BreedclfError: the backend can't be asked.
    """
    return tuple(job_view(description) for description in backend.list_jobs())


def job_view(description: JobDescription) -> JobView:
    """The view of a described job."""
    return JobView(description, str(description.tags.get(TUNING_TAG, "")))


def choose(jobs: Sequence[JobView], choice: Choice) -> Chosen[JobView]:
    """The page of the jobs that match, newest first.

    Example:
        >>> choose([], Choice(words="beagle")).pages
        1
    """
    return chosen(jobs, choice, _has)


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
