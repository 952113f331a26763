"""Which steps of a journey run and why: pure functions of what is recorded, what has changed and what was chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from breedclf.config import nearest
from breedclf.errors import ConfigError
from breedclf.reporting.formats import seconds
from breedclf.text.plain_json import plain_json

if TYPE_CHECKING:
    from breedclf.jobs.plan import Plan
    from breedclf.journey.record import StepStatus

_AGAIN = {
    "InProgress": "it was interrupted",
    "Failed": "it failed before",
    "Refused": "the model was refused before",
}
_SHOWN_CHARS = 40


@dataclass(frozen=True)
class Choice:
    """What a run is asked to do: repeat from a step on, or repeat one step alone; all that isn't done if neither."""

    first: str | None = None
    only: str | None = None

    def check(self, steps: Collection[str]) -> None:
        """Check the names.

        Raises:
            ConfigError: there is no such step, or both are given.
        """
        if self.first is not None and self.only is not None:
            raise ConfigError(f"--from {self.first} and --only {self.only} exclude each other: choose one")
        for name in (self.first, self.only):
            if name is not None and name not in steps:
                raise ConfigError(f"unknown step {name!r}: {nearest(name, steps)}")


@dataclass(frozen=True)
class Situation:
    """A step before it is decided on.

    Args:
        name: of the step.
        needs: the steps whose results it uses.
        status: as recorded; None if it isn't.
        changes: what has changed since, in words.
        intact: whether its result is still there.
        this_run: whether its result ends with the run, as an endpoint does.
    """

    name: str
    needs: tuple[str, ...] = ()
    status: StepStatus | None = None
    changes: tuple[str, ...] = ()
    intact: bool = True
    this_run: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether a step runs, and why or why not."""

    runs: bool
    reason: str


def decide(step: Situation, choice: Choice, order: Sequence[str], running: Collection[str]) -> Decision:
    """Decide on one step.

    Args:
        step: the step.
        choice: what the run is asked to do.
        order: the names of all steps.
        running: the steps before it that run.

    Example:
        >>> decide(Situation("tune", status="Completed"), Choice(), ["check", "tune"], [])
        Decision(runs=False, reason='done before')
        >>> decide(Situation("tune", ("check",), "Completed"), Choice(), ["check", "tune"], ["check"])
        Decision(runs=True, reason='check runs, too')
    """
    if choice.only is not None:
        return Decision(True, "chosen") if step.name == choice.only else Decision(False, "not chosen")
    if step.status is None:
        return Decision(True, "not done yet")
    if choice.first is not None and order.index(step.name) >= order.index(choice.first):
        return Decision(True, "chosen" if step.name == choice.first else f"{choice.first} runs again")
    if step.status in _AGAIN:
        return Decision(True, _AGAIN[step.status])
    if step.changes:
        return Decision(True, f"changed since: {'; '.join(step.changes)}")
    if before := [name for name in step.needs if name in running]:
        return Decision(True, f"{before[0]} runs, too")
    if step.this_run:
        return Decision(True, "it is part of every run")
    if not step.intact:
        return Decision(True, "its files are gone")
    return Decision(False, "done before")


def dependents(name: str, needs: Mapping[str, Iterable[str]]) -> set[str]:
    """The steps that use the result of this one, directly or through others.

    Example:
        >>> sorted(dependents("tune", {"tune": [], "best": ["tune"], "evaluate": ["best"], "review": []}))
        ['best', 'evaluate']
    """
    found: set[str] = set()
    while True:
        more = {step for step, used in needs.items() if found.union([name]).intersection(used)}
        if more == found:
            return found
        found = more


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the inputs of a step then and now, in words.

    Example:
        >>> changes({"verify": True, "space": {"epochs": [2]}}, {"verify": False, "space": {"epochs": [2, 3]}})
        ('verify (true -> false)', 'epochs of the space ([2] -> [2, 3])')
    """
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        old, new = before.get(key), after.get(key)
        if plain_json(old) == plain_json(new):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            parts = changes(old, new)
            found += [f"{part.partition(' (')[0]} of the {key} ({part.partition(' (')[2]}" for part in parts]
        else:
            found.append(f"{key} ({_shown(old)} -> {_shown(new)})")
    return tuple(found)


def _shown(value: object) -> str:
    text = "nothing" if value in (None, "") else value if isinstance(value, str) else plain_json(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


@dataclass(frozen=True)
class PlannedStep:
    """A step in a plan.

    Args:
        name: of the step.
        title: for people.
        runs: whether it would run.
        reason: why it would or wouldn't.
        seconds: how long it took when it last ran; None if it never has.
        cost: what it would create and cost at most; None on a free backend.
    """

    name: str
    title: str
    runs: bool
    reason: str
    seconds: float | None = None
    cost: Plan | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "cost": None if self.cost is None else self.cost.to_dict()}


@dataclass(frozen=True)
class JourneyPlan:
    """What a journey would do; `str()` is a table."""

    steps: tuple[PlannedStep, ...]

    @property
    def seconds(self) -> float | None:
        """How long it would take, as far as earlier runs show; None if a step that would run never has."""
        known = [step.seconds for step in self.steps if step.runs]
        return None if None in known else sum(each for each in known if each is not None)

    @property
    def cost(self) -> float | None:
        """The maximum cost in US dollars of what can be estimated; 0 on a free backend, None if it is unknown."""
        costs = [step.cost.cost for step in self.steps if step.runs and step.cost is not None]
        return None if None in costs else sum(each for each in costs if each is not None)

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf journey --dry-run --json`."""
        return {"steps": [step.to_dict() for step in self.steps], "seconds": self.seconds, "cost": self.cost}

    def __str__(self) -> str:
        lines = [
            f"{step.name:10} {'runs' if step.runs else 'skipped':8} {_time(step):>10}  {step.title}: {step.reason}"
            for step in self.steps
        ]
        unknown = ", ".join(step.name for step in self.steps if step.runs and step.seconds is None)
        known = sum(step.seconds or 0.0 for step in self.steps if step.runs)
        if unknown and not known:
            lines.append("duration: unknown, since none of these steps has run before")
        else:
            without = f", and the time of {unknown}, which is unknown" if unknown else ""
            lines.append(f"duration: about {seconds(known)}, as in the run before{without}")
        plans = [f"{step.name}: {step.cost}" for step in self.steps if step.runs and step.cost is not None]
        return "\n".join([*lines, *plans])


def _time(step: PlannedStep) -> str:
    if not step.runs:
        return ""
    return "unknown" if step.seconds is None else seconds(step.seconds)
