"""What every step of a journey is, and what it may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from breedclf.journey.record import JourneyRecord, Outcome
from breedclf.journey.settings import JourneySettings

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint
    from breedclf.jobs import Backend


@dataclass
class JourneyContext:
    """What steps share: the settings, what was found so far, and the endpoint of this run.

    Args:
        settings: of the journey.
        backend: where jobs run; None for this process.
        record: what the steps before found.
        endpoint: the one that this run deployed, until it is deleted.
    """

    settings: JourneySettings
    backend: Backend | None
    record: JourneyRecord = field(default_factory=JourneyRecord)
    endpoint: Endpoint | None = None

    @property
    def folder(self) -> Path:
        """The journey's folder."""
        return self.settings.output

    def found(self, step: str) -> Mapping[str, Any]:
        """The values of an earlier step; empty if it didn't run."""
        done = self.record.step(step)
        return {} if done is None else done.outcome.values

    def shown(self, path: Path) -> str:
        """A path for links: relative to the journey's folder if it is in it."""
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)


@dataclass(frozen=True)
class Alone:
    """How a step is done without the journey: a Python expression, and a command."""

    python: str
    command: str


class Step(ABC):
    """One step: what it depends on, what it does, and whether its result is still there.

    `files` are what it leaves in the journey's folder. A step of `this_run` only is taken again by every run that gets
    to it, since its result ends with the process: an endpoint.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    this_run: ClassVar[bool] = False

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:  # noqa: ARG002 - for those that have some
        """Everything its result depends on, besides the steps before it, as plain values."""
        return {}

    @abstractmethod
    def run(self, context: JourneyContext) -> Outcome:
        """Do it."""

    def is_intact(self, context: JourneyContext, outcome: Outcome) -> bool:  # noqa: ARG002 - for those that need it
        """Whether the result of an earlier run is still there."""
        return not self.this_run and all((context.folder / name).exists() for name in self.files)

    @abstractmethod
    def alone(self, context: JourneyContext) -> Alone:
        """How to do it without the journey; asked after it has run."""
