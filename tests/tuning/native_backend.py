"""A backend for tests that runs whole searches by itself: each look at one moves it on, and it counts the looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from breedclf.errors import ConfigError
from breedclf.tuning.native import NativeDescription, NativeSearch, NativeTrial
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.strategies import grid
from tests.tuning.bookkeeping_backend import BookkeepingBackend


class NativeBackend(BookkeepingBackend):
    """Tries the grid, `max_parallel_jobs` at a time; values come out rounded, as a service of 32 bits gives them."""

    def __init__(self, home: Path, losses: Any, *, created: float = 1_000_000.0, hidden_looks: int = 0) -> None:
        super().__init__(home, losses)
        self.searches: dict[str, NativeSearch] = {}
        self.creations = 0
        self.described: list[float] = []
        self.time = lambda: 0.0
        self.best_of_the_service: str | None = None
        self._created = created
        self._hidden_looks = hidden_looks
        self._stopped: set[str] = set()
        self._ended: dict[str, float] = {}

    def create_tuning(self, search: NativeSearch) -> None:
        name = search.request.name
        if name in self.searches and self.searches[name] != search:
            raise ConfigError(f"the account has a tuning job {name!r} already")
        if search.request.strategy != "grid":
            raise ConfigError("this backend tries grids only")
        self.creations += 1
        self.searches[name] = search

    def describe_tuning(self, name: str) -> NativeDescription | None:
        self.described.append(self.time())
        if name not in self.searches or self._hidden_looks > 0:
            self._hidden_looks -= 1
            return None
        self._move_on(name)
        trials = tuple(self._trial(name, each) for each in self._names(name))
        over = all(trial.status in ("Completed", "Failed", "Stopped") for trial in trials)
        done = name in self._stopped or len(trials) == self._size(name)
        status = "InProgress" if not (over and done) else "Stopped" if name in self._stopped else "Completed"
        return NativeDescription(
            name=name,
            status=status,
            created=self._created,
            ended=self._created + 60.0 if status != "InProgress" else None,
            trials=tuple(reversed(trials)),  # in no order that could be relied on
            best=self.best_of_the_service,
        )

    def stop_tuning(self, name: str) -> None:
        self._stopped.add(name)
        for trial in self._names(name):
            self.stop(trial)

    def find_tuning(self, name: str) -> SearchRequest:
        if name not in self.searches:
            raise ConfigError(f"no tuning job {name!r}")
        return self.searches[name].request

    def describe(self, name: str) -> Any:
        self.described.append(self.time())
        return super().describe(name)

    def remove_search(self, name: str) -> None:
        """As somebody does who deletes it in the service's console."""
        del self.searches[name]

    def _size(self, name: str) -> int:
        return len(grid(self.searches[name].request.space))

    def _names(self, name: str) -> list[str]:
        return [each.name for each in self.list_jobs() if each.name.startswith(f"{name}-")]

    def _move_on(self, name: str) -> None:
        search = self.searches[name]
        for trial in self._names(name):
            super().describe(trial)  # runs an epoch
        running = sum(not job.status.is_final for job in self.list_jobs())
        points, begun = grid(search.request.space), len(self._names(name))
        if name in self._stopped:
            return
        for index in range(begun, min(len(points), begun + search.request.max_parallel_jobs - running)):
            texts = {key: str(value) for key, value in points[index].items()}
            child = search.job.replace(name=f"{name}-{index:03d}", hyperparameters={**search.shared, **texts})
            self.submit(child)

    def _trial(self, name: str, trial: str) -> NativeTrial:
        entry = self._book[trial]
        description, tuned = entry.description, self.searches[name].request.space
        objective = description.metrics.get("best_valid_loss")
        return NativeTrial(
            name=trial,
            status=description.status.value,
            hyperparameters={key: entry.spec.hyperparameters[key] for key in tuned},
            created=self._created + description.created,
            objective=None if objective is None else round(objective, 4),
            started=description.started,
            ended=description.ended,
            failure_reason=description.failure_reason,
        )


def tied(description: NativeDescription) -> NativeDescription:
    """The same with every objective equal."""
    return replace(description, trials=tuple(replace(trial, objective=0.5) for trial in description.trials))
