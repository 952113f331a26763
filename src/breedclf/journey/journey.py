"""`Journey`: a dataset in, a deployed model and one page out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from breedclf.backends.registry import backend_of
from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError, ConfigError, DiskError, GateError
from breedclf.jobs import Backend
from breedclf.journey.leftovers import remove_leftovers
from breedclf.journey.plan import Choice, Decision, JourneyPlan, PlannedStep, Situation, decide, dependents
from breedclf.journey.record import JourneyRecord, Outcome, RunBy, StepRecord
from breedclf.journey.result import PAGE_FILE, JourneyResult, result_of
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
from breedclf.model_store.folder import StoreFolder
from breedclf.reporting.formats import seconds as shown_seconds
from breedclf.training.results.output_folder import own_output

log: logging.Logger = logging.getLogger(__name__)

_ALL: tuple[Step, ...] = (
    Check(), Backbones(), Tune(), Best(), Profile(), Evaluate(), Review(), GateStep(), Register(), Deploy(), Predict(),
    CleanUp(),
)  # fmt: skip
_NEEDS = {step.name: step.needs for step in _ALL}

Progress = Callable[[str, str], None]
"""Called with the name of a step and a line about it."""


class Journey:
    """Check the data, tune, take the best, profile, evaluate, review, register, deploy and predict.

    Each step is recorded when it is done. A journey that was interrupted continues with that step, and repeats others
    only if something that they depend on has changed.

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
            self.settings: JourneySettings = config.replace(**settings) if settings else config
        else:
            self.settings = JourneySettings(training=config, **settings)
        self.backend: Backend | None = None if backend in (None, "inline") else backend_of(backend)

    def __repr__(self) -> str:
        return f"Journey(data={str(self.settings.data)!r}, output={str(self.settings.output)!r})"

    @property
    def page(self) -> Path:
        """The page about the journey."""
        return self.settings.output / PAGE_FILE

    def plan(self, *, first: str | None = None, only: str | None = None) -> JourneyPlan:
        """What `run` would do, how long it took before, and what it costs at most on a paid backend.

        Nothing is started or written.

        Raises:
            ConfigError: a setting is wrong, or `only` needs an earlier step.
        """
        choice = Choice(first, only)
        choice.check(STEPS)
        context = self._context()
        running: set[str] = set()
        steps = []
        for step in _ALL:
            decision = _decide(step, context, choice, running)
            if decision.runs:
                running.add(step.name)
            duration = context.record.durations.get(step.name)
            cost = step.cost(context) if decision.runs else None
            steps.append(PlannedStep(step.name, step.title, decision.runs, decision.reason, duration, cost))
        return JourneyPlan(tuple(steps))

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
            DiskError: the store can't be written.
            BreedclfError: a step failed; the next run continues with it.
            KeyboardInterrupt: Ctrl-C; the next run continues with the step that was interrupted.
        """
        started = time.perf_counter()
        choice = Choice(first, only)
        choice.check(STEPS)
        tell = progress or (lambda step, line: log.info("%s: %s", step, line))
        with _claimed(self.settings.output):
            remove_leftovers(self.settings.output)
            with StoreFolder(self.settings.store).locked():
                pass  # refuse a store that can't be written before hours of work
            context = self._context()
            context.record = context.record.model_copy(update={"run_by": RunBy.this_process()})
            try:
                self._take(context, choice, tell)
            finally:
                _say_that_it_ended(context)
                if context.endpoint is not None and not self.settings.keep:
                    context.endpoint.delete()
        return result_of(context.record, context.folder, time.perf_counter() - started)

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

    def _context(self) -> JourneyContext:
        return JourneyContext(self.settings, self.backend, JourneyRecord.load(self.settings.output))

    def _take(self, context: JourneyContext, choice: Choice, tell: Progress) -> None:
        running: set[str] = set()
        for step in _ALL:
            decision = _decide(step, context, choice, running)
            if not decision.runs:
                continue
            running.add(step.name)
            again = "" if decision.reason == "not done yet" else f" ({decision.reason})"
            tell(step.name, f"{step.title}{again} ...")
            context.repeated = step.name in (choice.first, choice.only)
            try:
                taken = self._run(step, context)
            except KeyboardInterrupt as interrupt:
                raise KeyboardInterrupt(
                    f"interrupted in step {step.name}: repeat the command to continue there ({context.folder})"
                ) from interrupt
            tell(step.name, f"{taken.outcome.headline} ({shown_seconds(taken.seconds)})")
            if taken.status == "Refused":
                raise GateError(taken.outcome.headline)

    def _run(self, step: Step, context: JourneyContext) -> StepRecord:
        """Run a step; the steps that use its result have to run again, also if this process is killed."""
        inputs = dict(step.inputs(context))
        intent = dict(step.intent(context))
        context.record = context.record.without(dependents(step.name, _NEEDS))
        self._save(step, context, inputs, Outcome(headline="Running.", values=intent, status="InProgress"))
        started = time.perf_counter()
        try:
            if step.needs_images and not context.has_images:
                outcome = Outcome(headline="Skipped: the images are in S3, not on this machine.", status="Skipped")
            else:
                outcome = step.run(context)
        except BreedclfError as error:
            failed = Outcome(headline=str(error), values=intent, status="Failed")
            self._save(step, context, inputs, failed, time.perf_counter() - started)
            raise
        return self._save(step, context, inputs, outcome, time.perf_counter() - started)

    def _save(
        self, step: Step, context: JourneyContext, inputs: dict[str, Any], outcome: Outcome, seconds: float = 0.0
    ) -> StepRecord:
        status = outcome.status
        taken = StepRecord(
            name=step.name, status=status, inputs=inputs, seconds=seconds, outcome=outcome, python="", command=""
        )
        context.record = context.record.with_step(taken, STEPS)
        if status not in ("InProgress", "Failed"):
            alone = step.alone(context)
            taken = taken.model_copy(update={"python": alone.python, "command": alone.command})
            context.record = context.record.ended(taken, STEPS)
        context.record.save(context.folder)
        self._write_page(context)
        return taken

    def _write_page(self, context: JourneyContext) -> None:
        from breedclf.journey.page.write import write_page

        write_page(self.page, context)


def _say_that_it_ended(context: JourneyContext) -> None:
    """Record that no process runs the journey any more; a full disk must not hide why it ended."""
    context.record = context.record.model_copy(update={"run_by": None})
    if context.record.steps:
        with suppress(DiskError):
            context.record.save(context.folder)


def _decide(step: Step, context: JourneyContext, choice: Choice, running: set[str]) -> Decision:
    """Decide on a step by its record.

    Raises:
        ConfigError: the step is to run alone, and a step that it needs isn't done.
    """
    done = context.record.step(step.name)
    if choice.only == step.name:
        _require_needs(step, context)
    known = done is not None and not running.intersection(step.needs)
    situation = Situation(
        name=step.name,
        needs=step.needs,
        status=None if done is None else done.status,
        changes=step.changes(context, done.inputs) if known and done is not None else (),
        intact=done is not None and step.is_intact(context, done.outcome),
        this_run=step.this_run,
    )
    return decide(situation, choice, STEPS, running)


def _require_needs(step: Step, context: JourneyContext) -> None:
    """Check that what a step needs is there.

    Raises:
        ConfigError: it isn't.
    """
    for name in step.needs:
        done = context.record.step(name)
        if done is None or done.status not in ("Completed", "Skipped"):
            why = "hasn't run yet" if done is None else "was interrupted" if done.status == "InProgress" else "failed"
            raise ConfigError(
                f"--only {step.name} needs step {name!r}, which {why} in {context.folder}: "
                f"repeat the command without --only, or with --from {name}"
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
    except (OSError, NotImplementedError) as error:
        log.warning("%s: its disk doesn't support locks (%s); make sure that no other journey uses it", output, error)
    try:
        yield
    finally:
        lock.release()
