"""What every step of a journey is, and what it may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from breedclf.files.s3_uri import is_s3
from breedclf.journey.plan import changes
from breedclf.journey.record import JourneyRecord, Outcome
from breedclf.journey.settings import JourneySettings

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint
    from breedclf.jobs import Backend
    from breedclf.jobs.plan import Plan


@dataclass
class JourneyContext:
    """What steps share: the settings, what was found so far, and the endpoint of this run.

    Args:
        settings: of the journey.
        backend: where jobs run; None for this process.
        record: what the steps before found.
        endpoint: the one that this run deployed, until it is deleted.
        repeated: whether the current step was chosen to be repeated.
    """

    settings: JourneySettings
    backend: Backend | None
    record: JourneyRecord = field(default_factory=JourneyRecord)
    endpoint: Endpoint | None = None
    repeated: bool = False

    @property
    def folder(self) -> Path:
        """The journey's folder."""
        return self.settings.output

    @property
    def has_images(self) -> bool:
        """Whether the images are on this machine."""
        return not is_s3(self.settings.data)

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

    `needs` are the steps whose results it uses, and `files` what it leaves in the journey's folder. A step of
    `this_run` is taken by every run, since its result ends with the process: an endpoint. A step that `needs_images`
    is skipped if they aren't on this machine.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    this_run: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:  # noqa: ARG002 - for those that have some
        """Everything its result depends on, besides the steps that it needs, as plain values."""
        return {}

    def changes(self, context: JourneyContext, before: Mapping[str, Any]) -> tuple[str, ...]:
        """What of its inputs has changed since, in words."""
        return changes(before, self.inputs(context))

    def intent(self, context: JourneyContext) -> Mapping[str, Any]:  # noqa: ARG002 - for those that start something
        """Values that are recorded before it starts, such as the name of a job, so that a killed run is continued."""
        return {}

    @abstractmethod
    def run(self, context: JourneyContext) -> Outcome:
        """Do it."""

    def is_intact(self, context: JourneyContext, outcome: Outcome) -> bool:
        """Whether the result of an earlier run is still there."""
        return outcome.status == "Skipped" or all((context.folder / name).exists() for name in self.files)

    def cost(self, context: JourneyContext) -> Plan | None:  # noqa: ARG002 - for those that cost something
        """What it would create and cost at most; None on a free backend, or if that can't be estimated yet."""
        return None

    @abstractmethod
    def alone(self, context: JourneyContext) -> Alone:
        """How to do it without the journey; asked after it has run."""
