"""`Journey`: a dataset in, a deployed model and one page out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from breedclf.backends.registry import backend_of
from breedclf.config import TrainingConfig, nearest
from breedclf.errors import BreedclfError, ConfigError, GateError
from breedclf.jobs import Backend
from breedclf.journey.record import JourneyRecord, Outcome, StepRecord, inputs_digest
from breedclf.journey.settings import STEPS, JourneySettings
from breedclf.journey.step import JourneyContext, Step
from breedclf.journey.steps.backbones import Backbones
from breedclf.journey.steps.best import Best
from breedclf.journey.steps.check import Check
from breedclf.journey.steps.clean_up import CleanUp
from breedclf.journey.steps.deploy import Deploy
from breedclf.journey.steps.evaluate import Evaluate
from breedclf.journey.steps.gate import GateStep
from breedclf.journey.steps.predict import Predict
from breedclf.journey.steps.profile import Profile
from breedclf.journey.steps.register import Register
from breedclf.journey.steps.review import Review
from breedclf.journey.steps.tune import Tune
from breedclf.training.results.output_folder import own_output

log: logging.Logger = logging.getLogger(__name__)

PAGE_FILE = "journey.html"
_ALL: tuple[Step, ...] = (
    Check(), Backbones(), Tune(), Best(), Profile(), Evaluate(), Review(), GateStep(), Register(), Deploy(), Predict(),
    CleanUp(),
)  # fmt: skip

Progress = Callable[[str, str], None]
"""Called with the name of a step and a line about it."""


@dataclass(frozen=True)
class JourneyResult:
    """What a journey found.

    Args:
        steps: all steps that have run, in order.
        best: the hyperparameters of the best trial.
        accuracy: on the test split, from 0 to 1; None if it wasn't evaluated.
        model: the model directory.
        report: the page.
        seconds: of this run.
    """

    steps: tuple[StepRecord, ...]
    best: Mapping[str, Any]
    accuracy: float | None
    model: Path
    report: Path
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether the gate refused the model."""
        return any(step.status == "Refused" for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf journey --json`."""
        return {
            "steps": [
                {
                    "name": step.name,
                    "status": step.status,
                    "seconds": round(step.seconds, 3),
                    "report": step.outcome.report,
                    "headline": step.outcome.headline,
                    "values": step.outcome.values,
                    "python": step.python,
                    "command": step.command,
                }
                for step in self.steps
            ],
            "best": dict(self.best),
            "accuracy": self.accuracy,
            "model": str(self.model),
            "report": str(self.report),
            "seconds": round(self.seconds, 3),
        }


class Journey:
    """Check the data, tune, take the best, profile, evaluate, review, register, deploy and predict.

    Each step is recorded when it is done. A journey that was interrupted continues after its last step, and repeats a
    step only if something that it depends on has changed.

    Args:
        config: the training settings, with the dataset; or all settings of the journey.
        space: what to search; by default the learning rates 0.005, 0.0075 and 0.01, batch sizes 32 and 64, and 2 and 3
            epochs, in all combinations.
        backend: where training jobs and the endpoint run: a backend, or its name; by default training runs in this
            process, and the endpoint on this machine.
        settings: other fields of `JourneySettings`.

    Example:
        >>> result = Journey(TrainingConfig(data="dogImages")).run()  # doctest: +SKIP
        >>> result.accuracy, result.report  # doctest: +SKIP
        (0.94, PosixPath('runs/journey/journey.html'))
    """

    def __init__(
        self,
        config: TrainingConfig | JourneySettings,
        *,
        space: Mapping[str, Any] | None = None,
        backend: Backend | str | None = None,
        **settings: Any,
    ) -> None:
        if space is not None:
            settings["space"] = dict(space)
        if isinstance(config, JourneySettings):
            self.settings = config.replace(**settings) if settings else config
        else:
            self.settings = JourneySettings(training=config, **settings)
        self.backend: Backend | None = None if backend in (None, "inline") else backend_of(backend)

    @property
    def page(self) -> Path:
        """The page about the journey."""
        return self.settings.output / PAGE_FILE

    def run(
        self, *, first: str | None = None, only: str | None = None, progress: Progress | None = None
    ) -> JourneyResult:
        """Take every step that isn't done yet, and write the page after each.

        Args:
            first: repeat this step and all after it.
            only: repeat this step alone.
            progress: called with the name of a step and a line about it; by default they are logged.

        Raises:
            GateError: the gate refuses the model; the live one stays.
            ConfigError: a setting is wrong, another journey is writing to this output, or `only` needs an earlier step.
            BreedclfError: a step failed; the next run continues with it.
        """
        started = time.perf_counter()
        tell = progress or (lambda step, line: log.info("%s: %s", step, line))
        for name in (first, only):
            if name is not None and name not in STEPS:
                raise ConfigError(f"unknown step {name!r}: {nearest(name, STEPS)}")
        with _claimed(self.settings.output):
            context = JourneyContext(self.settings, self.backend, JourneyRecord.load(self.settings.output))
            try:
                self._take(context, first, only, tell)
            finally:
                if context.endpoint is not None and not self.settings.keep:
                    context.endpoint.delete()
                self._write_page(context)
        result = self._result(context, time.perf_counter() - started)
        if result.refused:
            refusal = next(step for step in result.steps if step.status == "Refused")
            raise GateError(refusal.outcome.headline)
        return result

    def to_sagemaker_pipeline(self) -> str:
        """The search as a SageMaker pipeline: the JSON definition for CreatePipeline.

        Its steps are the tuning job of this search and the registration of the best model as a model package; with
        `gate.baseline`, the best objective, which must be `valid_accuracy`, must be at least that. The other steps of
        a journey aren't part of it. Code and dataset are uploaded; nothing is started.

        Raises:
            ConfigError: the backend isn't SageMaker's, or a pipeline doesn't support the settings.
            DataError: training on the images would fail.
        """
        from breedclf.journey.sagemaker_pipeline import sagemaker_pipeline

        return sagemaker_pipeline(self.settings, self.backend)

    def _take(self, context: JourneyContext, first: str | None, only: str | None, tell: Progress) -> None:
        again = False
        before = ""
        for step in _ALL:
            inputs = inputs_digest({"before": before, **step.inputs(context)})
            done = context.record.step(step.name)
            again = again or step.name == first
            wanted = step.name == only if only is not None else True
            fresh = done is not None and done.status != "Failed" and done.inputs == inputs
            if not wanted or (fresh and not again and done and step.is_intact(context, done.outcome)):
                before = inputs
                continue
            if done is not None and not again and done.inputs != inputs:
                tell(step.name, "its inputs have changed since: it runs again, and so do the steps after it")
            self._run(step, context, inputs, tell)
            before = inputs
            taken = context.record.step(step.name)
            if taken is not None and taken.status == "Refused":
                return

    def _run(self, step: Step, context: JourneyContext, inputs: str, tell: Progress) -> None:
        started = time.perf_counter()
        try:
            outcome = step.run(context)
        except BreedclfError as error:
            outcome = Outcome(headline=str(error), status="Failed")
            self._save(step, context, inputs, outcome, time.perf_counter() - started)
            raise
        self._save(step, context, inputs, outcome, time.perf_counter() - started)
        tell(step.name, outcome.headline)

    def _save(self, step: Step, context: JourneyContext, inputs: str, outcome: Outcome, seconds: float) -> None:
        order = tuple(each.name for each in _ALL)
        taken = StepRecord(
            name=step.name,
            status=outcome.status,
            inputs=inputs,
            seconds=seconds,
            outcome=outcome,
            python="",
            command="",
        )
        context.record = context.record.with_step(taken, order)
        alone = step.alone(context)
        taken = taken.model_copy(update={"python": alone.python, "command": alone.command})
        context.record = context.record.with_step(taken, order)
        context.record.save(context.folder)
        self._write_page(context)

    def _write_page(self, context: JourneyContext) -> None:
        from breedclf.journey.page import write_page

        write_page(self.page, context)

    def _result(self, context: JourneyContext, seconds: float) -> JourneyResult:
        best = context.found("tune").get("best", {})
        return JourneyResult(
            steps=context.record.steps,
            best=best.get("hyperparameters", {}),
            accuracy=context.found("evaluate").get("accuracy"),
            model=context.folder / "model",
            report=self.page,
            seconds=seconds,
        )


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Keep other journeys from this output.

    Raises:
        ConfigError: one is running, or the folder can't be written.
    """
    own_output(output)
    lock = FileLock(output / ".journey.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigError(f"another journey is writing to {output}: wait for it, or choose another --output") from error
    try:
        yield
    finally:
        lock.release()
