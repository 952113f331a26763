"""`Trainer`: settings in, a trained and validated classifier out, in this process or on a backend."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from breedclf.api.fit_on_backend import fit_on_backend
from breedclf.api.training_job import training_spec
from breedclf.backends.registry import backend_of
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.jobs import DEFAULT_MAX_RUNTIME_SECONDS, Backend, PlanningBackend
from breedclf.jobs.handle import Job, progress_lines
from breedclf.runtime.memory import freed_memory_returned
from breedclf.runtime.process_signals import ending_at_once

if TYPE_CHECKING:
    from breedclf.jobs.plan import Plan
    from breedclf.training.hooks import TrainingHook
    from breedclf.training.lr_finder import LearningRateCurve
    from breedclf.training.result import FitResult

log: logging.Logger = logging.getLogger(__name__)


class Trainer:
    """Fine-tunes a pretrained network on a folder of images.

    Args:
        config: the settings of the training run.
        backend: where to train: a backend, or its name ("inline", "local", "sagemaker"). If None, `fit` trains in this
            process and `submit` starts a local job.

    Example:
        >>> result = Trainer(TrainingConfig(data="dogImages")).fit()  # doctest: +SKIP
        >>> result.classifier.predict("dog.jpg").top(5)  # doctest: +SKIP
        >>> result = Trainer(TrainingConfig(data="dogImages"), backend="sagemaker").fit()  # doctest: +SKIP
        >>> job = Trainer(TrainingConfig(data="dogImages"), backend="local").submit()  # doctest: +SKIP
        >>> job.wait(progress=True).artifact  # doctest: +SKIP
    """

    def __init__(self, config: TrainingConfig, backend: Backend | str | None = None) -> None:
        self.config = config
        self._backend = backend

    def fit(self, *, hooks: Sequence[TrainingHook] = (), resume: bool | None = None) -> FitResult:
        """Train, and write the model, the history and the settings to `config.output`.

        Without a backend this trains in this process: progress goes to the "breedclf" logger and, on a terminal, to a
        bar on stderr, and SIGTERM or SIGINT end the run after the current step, with its state saved. With a backend it
        submits a job, waits for it with progress on stderr or in the log, and fetches the results. Ctrl-C then stops
        waiting, but not the job; the message says how to come back to it, and a second Ctrl-C within two seconds stops
        the job.

        Args:
            hooks: callbacks that receive the events of the run; only without a backend.
            resume: continue from the last checkpoint in the output; defaults to `config.resume`. Only without a
                backend, since jobs continue from their own checkpoints.

        Raises:
            ConfigError: a setting doesn't fit this machine or the backend, the output can't be written, another run is
                writing there, or its checkpoint was made with other settings.
            DataError: the images can't be used, or aren't those of the checkpoint.
            WeightsError: the pretrained weights can't be loaded, don't fit or aren't safe to load.
            TrainingError: the loss is no longer a number.
            JobFailedError: the job failed or was stopped; the message is its reason.
            KeyboardInterrupt: the run was interrupted; the message says how to continue.
        """
        config = self.config if resume is None else self.config.replace(resume=resume)
        if self._backend is not None:
            if hooks:
                raise ConfigError(
                    "hooks run in this process and can't be sent to a backend; use Trainer(config).fit(hooks=...), or "
                    "poll the job with submit().wait(progress=function)"
                )
            progress = True if sys.stderr.isatty() else progress_lines(log.info)
            return fit_on_backend(config, backend_of(self._backend), progress=progress)[1]

        with ending_at_once():
            from breedclf.loggers.chosen import logged
            from breedclf.profiling.recorder import recorded
            from breedclf.training.fit import fit
            from breedclf.training.progress import ProgressLog

        with freed_memory_returned(), recorded(config) as recorders, logged(config, hooks) as others:
            return fit(config, hooks=[ProgressLog(), *recorders, *others])

    def find_learning_rate(self, *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100) -> LearningRateCurve:
        """Try rising learning rates in a short run in this process, whose model is discarded.

        Returns:
            The curve, with `suggestion` and `plot(path)`.

        Raises:
            ConfigError: the range is empty, there are fewer than 10 steps, or a backend was given.
            DataError: the images can't be used.
            WeightsError: the pretrained weights can't be loaded, don't fit or aren't safe to load.
        """
        from breedclf.training.lr_finder import find_learning_rate

        if self._backend is not None:
            raise ConfigError("find_learning_rate() runs in this process only: use Trainer(config) without a backend")
        return find_learning_rate(self.config, lowest=lowest, highest=highest, steps=steps)

    def submit(
        self,
        *,
        name: str | None = None,
        max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
        spot: bool = False,
    ) -> Job:
        """Start the training as a job and return its handle; its files stay with the job.

        Args:
            name: at most 63 letters, digits and hyphens; made from the time if not given.
            max_runtime_seconds: the job is stopped after this many seconds.
            spot: the job may be interrupted and restarted.

        Raises:
            ConfigError: the name is taken or invalid, or a setting doesn't fit a job.
            DataError: the image folder doesn't exist.
            WeightsError: the weights are neither a known name nor a file.
        """
        spec = training_spec(self.config, name=name, max_runtime_seconds=max_runtime_seconds, spot=spot)
        backend = backend_of(self._backend)
        backend.submit(spec)
        return Job(spec.name, backend)

    def plan(
        self,
        *,
        max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
        spot: bool = False,
        dry_run: bool = False,
    ) -> Plan:
        """What `submit` would create, cost at most and require on a paid backend; nothing is started.

        Args:
            max_runtime_seconds: the job is stopped after this many seconds, which limits its cost.
            spot: the job may be interrupted and restarted.
            dry_run: whether to print the exact request, too.

        Raises:
            ConfigError: the backend is free, or `max_cost` is set and the job may cost more.
        """
        backend = backend_of(self._backend)
        if not isinstance(backend, PlanningBackend):
            raise ConfigError("plan() estimates the cost of a paid backend; this one costs nothing")
        spec = training_spec(self.config, max_runtime_seconds=max_runtime_seconds, spot=spot)
        plan: Plan = backend.plan(spec, dry_run=dry_run)
        return plan
