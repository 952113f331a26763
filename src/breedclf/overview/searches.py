"""Searches as lists and pages show them: those in folders of this machine, and those that the backend runs itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from breedclf.backends.common.locks import is_locked
from breedclf.errors import BreedclfError, ConfigError
from breedclf.jobs import Backend
from breedclf.overview.lists import Choice, Chosen, chosen
from breedclf.overview.studies import Studies, StudyHome
from breedclf.tuning.native import ListedTunings, NativeDescription, NativeSummary, NativeTuning, mirrored
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import Trial, best_first

INTERRUPTED = "Interrupted"
DAMAGED = "Damaged"
_NO_KEY = "00000000"
_MOST_CHARS = 63  # of a name on a service; folders of this machine have shorter ones


@dataclass(frozen=True)
class SearchView:
    """A search in a list.

    Args:
        name: that of its folder, or of the service.
        home: where its folder is, and the journey that it is part of; None for one that only the service knows.
        study: its state; None if that is damaged, or another program created the search.
        problem: why there is no state.
        is_followed: whether a process drives it now, or the service runs it by itself.
        is_elsewhere: whether it runs on another backend, and the state is what was seen of it last.
        summary: what the service says of it.
        backend: where its trials run; None for one process.
    """

    name: str
    home: StudyHome | None
    study: Study | None
    problem: str = ""
    is_followed: bool = False
    is_elsewhere: bool = False
    is_stopping: bool = False
    summary: NativeSummary | NativeDescription | None = None
    backend: str | None = None

    @property
    def status(self) -> str:
        """The status in SageMaker's words, "Interrupted" if no process drives it, or "Damaged"."""
        if self.study is None and self.summary is None:
            return DAMAGED
        if self.study is not None and self.study.is_over:
            return self.study.status
        if not self.is_followed and not self.is_elsewhere:
            return INTERRUPTED
        if self.summary is not None:
            return self.summary.status
        return "Stopping" if self.is_stopping else "InProgress"

    @property
    def is_active(self) -> bool:
        """Whether it goes on now."""
        return self.status in ("InProgress", "Stopping")

    @property
    def can_be_stopped(self) -> bool:
        """Whether it hasn't ended, and wasn't asked to stop."""
        return self.status in ("InProgress", INTERRUPTED) and not self.is_elsewhere

    @property
    def created(self) -> float | None:
        """When it was created, in seconds since 1970 (UTC)."""
        if self.summary is not None and self.study is None:
            return self.summary.created
        return None if self.study is None else self.study.created

    @property
    def seconds(self) -> float | None:
        """How long it has worked, without interruptions; None where that isn't known."""
        if self.study is not None and self.study.active_seconds > 0:
            return self.study.active_seconds
        if self.summary is not None and self.summary.ended is not None:
            return max(0.0, self.summary.ended - self.summary.created)
        ended = [] if self.study is None else [run.ended for run in self.study.runs if run.ended is not None]
        return None if self.study is None or not ended else max(0.0, max(ended) - self.study.created)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials have each status."""
        if isinstance(self.summary, NativeSummary) and self.is_active:
            return {status: count for status, count in self.summary.counts.items() if count}
        trials = self.study.trials if self.study else getattr(self.summary, "trials", ())
        found = dict(sorted(Counter(trial.status for trial in trials).items()))
        if not found and isinstance(self.summary, NativeSummary):
            return {status: count for status, count in self.summary.counts.items() if count}
        return found

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return sum(count for status, count in self.counts.items() if status not in ("InProgress", "Stopping"))

    @property
    def planned(self) -> int | None:
        """The largest number of trials."""
        if self.study is not None:
            return self.study.request.job_count
        return self.summary.planned if isinstance(self.summary, NativeSummary) else None

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return None if self.study is None else self.study.best

    @property
    def reason(self) -> str:
        """Why it ended, or why it can't be shown."""
        given = self.study.reason if self.study else getattr(self.summary, "reason", None)
        return self.problem or given or ""

    def to_dict(self) -> dict[str, Any]:
        """The document of `breedclf tune --list --json` and of `/api/tunings`; times are seconds since 1970."""
        request = None if self.study is None else self.study.request
        best = self.best
        confirmation = None if self.study is None else self.study.confirmation
        return {
            "name": self.name,
            "status": self.status,
            "reason": self.reason or None,
            "created": self.created,
            "seconds": self.seconds,
            "backend": self.backend,
            "folder": None if self.home is None else str(self.home.folder(self.name).path),
            "journey": None if self.home is None else self.home.journey or None,
            "strategy": request and request.strategy,
            "objective": request and request.objective,
            "direction": request and request.direction,
            "trials": self.counts,
            "done": self.done,
            "planned": self.planned,
            "best": best
            and {
                "name": best.name,
                "objective": best.objective,
                "hyperparameters": dict(best.hyperparameters),
                **({} if confirmation is None else {"level_with": list(confirmation.level_with)}),
            },
        }


def stored_searches(backend: Backend, homes: Iterable[StudyHome], studies: Studies) -> tuple[SearchView, ...]:
    """All searches in folders of this machine, oldest first; damaged ones, whose age isn't known, come first."""
    views = [
        _stored(home, folder, studies, backend) for home in homes for folder in studies.folders(home) if folder.exists()
    ]
    studies.keep_only(view.home.folder(view.name).file for view in views if view.home is not None)
    return tuple(sorted(views, key=_age))


def stored_search(backend: Backend, homes: Iterable[StudyHome], studies: Studies, name: str) -> SearchView | None:
    """The search of this name in a folder of this machine; None if there is none."""
    if not 0 < len(name) <= _MOST_CHARS or name in (".", "..") or any(each in name for each in "/\\\0"):
        return None
    folders = ((home, home.folder(name)) for home in homes)
    return next((_stored(home, folder, studies, backend) for home, folder in folders if folder.exists()), None)


def with_listed(stored: Sequence[SearchView], listed: Sequence[NativeSummary], backend: str) -> tuple[SearchView, ...]:
    """The stored searches with what the service says of those that it runs, and its other searches, oldest first."""
    by_name = {each.name: each for each in listed}
    found = []
    for view in stored:
        summary = by_name.get(view.name) if view.backend == backend else None
        if summary is not None:
            del by_name[view.name]
            view = replace(view, summary=summary, is_followed=True)
        found.append(view)
    others = [
        SearchView(each.name, None, None, is_followed=True, summary=each, backend=backend) for each in by_name.values()
    ]
    return tuple(sorted([*found, *others], key=_age))


def is_run_by_itself(view: SearchView, backend: Backend) -> bool:
    """Whether the backend runs the search as a whole, so that it has to be asked for its state."""
    packed = view.study is not None and view.study.request.packed
    return isinstance(backend, NativeTuning) and view.backend == backend.name and not packed


def listed_searches(backend: Backend) -> tuple[NativeSummary, ...]:
    """The searches that the backend runs as a whole, also those of other programs; none if it has no such list."""
    return tuple(backend.list_tunings()) if isinstance(backend, ListedTunings) else ()


def asked_search(backend: Backend, name: str, stored: SearchView | None) -> SearchView:
    """The present state of a search that the backend runs as a whole.

    Raises:
        BreedclfError: there is none of this name, or the backend can't be asked.
    """
    told = backend.describe_tuning(name) if isinstance(backend, NativeTuning) else None
    if not isinstance(backend, NativeTuning) or (told is None and stored is None):
        raise ConfigError(f"no search {name!r}, neither in a folder of this machine nor on {backend.name}")
    if told is None:
        assert stored is not None
        return stored
    study, problem = None if stored is None else stored.study, ""
    try:
        if study is None:
            request = backend.find_tuning(name)
            study = Study(request=request, key=_NO_KEY, created=told.created, backend=backend.name)
        study = mirrored(study, told)
    except BreedclfError as error:
        study, problem = None, str(error)
    home = None if stored is None else stored.home
    return SearchView(name, home, study, problem, is_followed=True, summary=told, backend=backend.name)


def choose_searches(searches: Sequence[SearchView], choice: Choice) -> Chosen[SearchView]:
    """The page of the searches that match, newest first."""
    return chosen(searches, choice, lambda each, word: word in _text(each))


def trials_in_order(study: Study, *, as_started: bool = False) -> list[Trial]:
    """The trials, best first, unless they should be as they started."""
    return list(study.trials) if as_started else best_first(study.trials, study.request.direction)


def rows(searches: Iterable[SearchView], moment: Any) -> list[tuple[str, ...]]:
    """The rows of `breedclf tune --list`; `moment` formats a time."""
    return [
        (
            each.name,
            each.status,
            f"{each.done}/{'-' if each.planned is None else each.planned}",
            "" if each.study is None else each.study.request.objective,
            "" if each.best is None or each.best.objective is None else f"{each.best.objective:.4f}",
            "" if each.created is None else moment(each.created),
            "" if each.seconds is None else f"{each.seconds:.1f}",
        )
        for each in searches
    ]


def _stored(home: StudyHome, folder: StudyFolder, studies: Studies, backend: Backend) -> SearchView:
    read = studies.read(folder)
    name, study = folder.path.name, read.study
    if study is None or study.is_over:
        return SearchView(name, home, study, read.problem, backend=None if study is None else study.backend)
    view = SearchView(name, home, study, is_stopping=folder.stop_file.exists(), backend=study.backend)
    return replace(
        view,
        is_followed=_is_driven(folder) or is_run_by_itself(view, backend),
        is_elsewhere=study.backend not in (None, backend.name),
    )


def _is_driven(folder: StudyFolder) -> bool:
    """Whether a process drives the search now; unknown, if its lock can't be looked at, counts as yes."""
    try:
        return is_locked(folder.lock_file)
    except OSError:
        return True


def _age(view: SearchView) -> tuple[float, str]:
    return view.created or 0.0, view.name


def _text(view: SearchView) -> str:
    parts = [view.name, "" if view.home is None else view.home.journey]
    if view.study is not None:
        parts += [view.study.request.objective, *view.study.request.space, str(view.study.request.config.data or "")]
    return " ".join(parts).casefold()
