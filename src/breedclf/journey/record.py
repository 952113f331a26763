"""What a journey has done: a JSON file, replaced atomically after each step, so that a killed run continues there."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from breedclf.backends.common.processes import Identity
from breedclf.errors import ConfigError
from breedclf.files.disk import write_atomic, writing
from breedclf.text.plain_json import plain_json

FILE_NAME = "journey.json"
SCHEMA_VERSION = 1

StepStatus = Literal["Completed", "Failed", "Refused", "Skipped", "InProgress"]


class Figure(BaseModel):
    """A figure of a step as people read it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    label: str
    value: str
    note: str = ""


class Outcome(BaseModel):
    """What a step found.

    `values` is for later steps and for JSON; `headline` and `figures` are for people; `report` is an HTML report,
    relative to the journey's folder if it is in it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    headline: str
    values: dict[str, Any] = Field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    report: str | None = None
    status: StepStatus = "Completed"


class StepRecord(BaseModel):
    """A step that has run: with what inputs, how long it took, what came of it, and how to repeat it alone.

    A step that is `InProgress` in the file of an ended process was interrupted.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    name: str
    status: StepStatus
    inputs: dict[str, Any]
    seconds: float
    outcome: Outcome
    python: str
    command: str


class RunBy(BaseModel):
    """The process that runs a journey, and its machine; `create_time` is in seconds since 1970."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    pid: int
    create_time: float
    host: str

    @classmethod
    def this_process(cls) -> RunBy:
        """This one."""
        own = Identity.of(os.getpid())
        return cls(pid=own.pid, create_time=own.create_time, host=platform.node())

    @property
    def is_alive(self) -> bool | None:
        """Whether it is still there; None if it is on another machine."""
        return Identity(self.pid, self.create_time).is_alive if self.host == platform.node() else None


class JourneyRecord(BaseModel):
    """The contents of `journey.json`: the steps in the order of the journey.

    `durations` are the seconds of each step when it last ran, also of those that have to run again. `run_by` is the
    process that runs it; None after it has ended, unless it was killed.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION
    steps: tuple[StepRecord, ...] = ()
    durations: dict[str, float] = Field(default_factory=dict)
    run_by: RunBy | None = None

    def step(self, name: str) -> StepRecord | None:
        """The record of a step; None if it hasn't run."""
        return next((step for step in self.steps if step.name == name), None)

    def with_step(self, step: StepRecord, order: tuple[str, ...]) -> JourneyRecord:
        """The record with this step added or replaced."""
        steps = {each.name: each for each in self.steps} | {step.name: step}
        return self.model_copy(update={"steps": tuple(steps[name] for name in order if name in steps)})

    def without(self, names: Collection[str]) -> JourneyRecord:
        """The record without these steps, which will have to run again."""
        return self.model_copy(update={"steps": tuple(step for step in self.steps if step.name not in names)})

    def ended(self, step: StepRecord, order: tuple[str, ...]) -> JourneyRecord:
        """The record with a step that has ended, and its duration."""
        durations = {**self.durations, step.name: step.seconds}
        return self.with_step(step, order).model_copy(update={"durations": durations})

    @classmethod
    def load(cls, folder: Path) -> JourneyRecord:
        """The record in a journey's folder; an empty one if there is none.

        Raises:
            ConfigError: the file is damaged, or a newer version wrote it.
        """
        path = folder / FILE_NAME
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["schema_version"] > SCHEMA_VERSION:
                raise ConfigError(f"{path} was written by a newer breedclf: upgrade breedclf")
            return cls.model_validate(document)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path} is damaged: {error}; delete it to start the journey again") from error

    def save(self, folder: Path) -> None:
        """Write the record atomically.

        Raises:
            DiskError: it can't be written.
        """
        path = folder / FILE_NAME
        with writing(path, "make room, then repeat the command: it continues after the last step"):
            write_atomic(path, plain_json(self.model_dump(mode="json"), indent=2) + "\n", sync=True)
