"""`Trainer`: settings in, a trained and validated classifier out, in this process or on a backend."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from breedclf.api.fit_on_backend import fit_on_backend
from breedclf.api.own_metrics import with_metrics
from breedclf.api.training_job import training_spec
from breedclf.backends.registry import backend_of
from breedclf.config import TrainingConfig
from breedclf.config.origin import check_one_origin, refuse_images
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import whole_uri
from breedclf.jobs import DEFAULT_MAX_RUNTIME_SECONDS, Backend, PlanningBackend
from breedclf.jobs.handle import Job, progress_lines
from breedclf.runtime.memory import freed_memory_returned
from breedclf.runtime.process_signals import ending_at_once
from breedclf.runtime.progress import show_line
from breedclf.training.interruption import StopRequest

if TYPE_CHECKING:
    from breedclf.data.given_images import GivenImages
    from breedclf.jobs.plan import Plan
    from breedclf.training.custom.metrics import MetricFunction
    from breedclf.training.hooks import Hook
    from breedclf.training.lr_finder import LearningRateCurve
    from breedclf.training.results.result import FitResult

log: logging.Logger = logging.getLogger(__name__)


class Trainer:
    """Fine-tunes a pretrained network on a folder of images.

    Args:
        config: the settings of the training run.
        backend: where to train: a backend, or its name ("inline", "local", "sagemaker"). If None, `fit` trains in this
            process and `submit` starts a local job.
        images: labeled images to train on in this process, in place of the folder `config.data`: one source, which is
            divided by the shares of the config, or those of each split, `{"train": ..., "valid": ...}`.
        metrics: functions of the validation images, by name, computed after each epoch: each takes probabilities
            float32 [N, C] and targets int64 [N], on the CPU, and returns a number. A job imports them by their modules.

    Raises:
        ConfigError: neither or both of `config.data` and `images` are given, or `images` and a backend.

    Example:
        >>> result = Trainer(TrainingConfig(data="dogImages")).fit()  # doctest: +SKIP
        >>> result.classifier.predict("dog.jpg").top(5)  # doctest: +SKIP
        >>> result = Trainer(TrainingConfig(data="dogImages"), backend="sagemaker").fit()  # doctest: +SKIP
        >>> job = Trainer(TrainingConfig(data="dogImages"), backend="local").submit()  # doctest: +SKIP
        >>> job.wait(progress=True).artifact  # doctest: +SKIP
    """

    def __init__(
        self,
        config: TrainingConfig,
        backend: Backend | str | None = None,
        *,
        images: GivenImages | None = None,
        metrics: Mapping[str, MetricFunction] | None = None,
    ) -> None:
        check_one_origin(config, images)
        if backend is not None:
            refuse_images(images, "a backend")
        self.config = config
        self.images = images
        self.metrics: Mapping[str, MetricFunction] = dict(metrics or {})
        self._backend = backend
        self._stop = StopRequest()

    def __repr__(self) -> str:
        where = "" if self._backend is None else f", backend={getattr(self._backend, 'name', self._backend)!r}"
        what = "images of the program" if self.config.data is None else repr(whole_uri(self.config.data))
        return f"Trainer({what}, {self.config.architecture}{where})"

    def fit(self, *, hooks: Sequence[Hook] = (), resume: bool | None = None) -> FitResult:
        """Train, and write the model, the history and the settings to `config.output`.

        Without a backend this trains in this process: progress goes to the "breedclf" logger and, on a terminal, to a
        bar on stderr, and SIGTERM or SIGINT end the run after the current step, with its state saved. With a backend it
        submits a job, waits for it with progress on stderr or in the log, and fetches the results. Ctrl-C then stops
        waiting, but not the job; the message says how to come back to it, and a second Ctrl-C within two seconds stops
        the job.

        Args:
            hooks: receive the events of the run: objects with any of the methods of `TrainingHook`. Only without a
                backend.
            resume: continue from the last checkpoint in the output; defaults to `config.resume`. Only without a
                backend, since jobs continue from their own checkpoints.

        Raises:
            ConfigError: a setting doesn't fit this machine or the backend, the output can't be written, another run is
                writing there, or its checkpoint was made with other settings.
            DataError: the images can't be used, or aren't those of the checkpoint.
            WeightsError: the pretrained weights can't be loaded, don't fit or aren't safe to load.
            TrainingError: the loss is no longer a number, or code of your own fails.
            TrainingStoppedError: `request_stop` was called before the first step.
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
            progress = True if sys.stderr.isatty() else progress_lines(partial(show_line, log))
            job_config = self._for_jobs(config)
            try:
                return fit_on_backend(job_config, backend_of(self._backend), progress=progress, stop=self._stop)[1]
            finally:
                self._stop.reset()

        with ending_at_once():
            from breedclf.loggers.chosen import loggers_of
            from breedclf.profiling.recorder import recorders_of
            from breedclf.training.events import check_hooks
            from breedclf.training.fit import fit
            from breedclf.training.progress import ProgressLog

        check_hooks(hooks)
        own = [ProgressLog(), *loggers_of(config), *recorders_of(config)]
        try:
            with freed_memory_returned():
                return fit(config, self.images, hooks=[*own, *hooks], metrics=self.metrics, stop=self._stop)
        finally:
            self._stop.reset()

    def request_stop(self) -> None:
        """Ask `fit` to end after its current step with the best model so far; returns at once, from any thread.

        The result has `stopped=True`, and `fit(resume=True)` continues the run. Within the first epoch, the part that
        was trained is validated and counts as an epoch; before the first step, `fit` raises TrainingStoppedError. If no
        run is under way, the next one is stopped. Repeating it has no effect.
        """
        self._stop.request()

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
        return find_learning_rate(self.config, self.images, lowest=lowest, highest=highest, steps=steps)

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
        refuse_images(self.images, "a job")
        spec = training_spec(self._for_jobs(self.config), name=name, max_runtime_seconds=max_runtime_seconds, spot=spot)
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
        refuse_images(self.images, "a job")
        backend = backend_of(self._backend)
        if not isinstance(backend, PlanningBackend):
            raise ConfigError("plan() estimates the cost of a paid backend; this one costs nothing")
        spec = training_spec(self._for_jobs(self.config), max_runtime_seconds=max_runtime_seconds, spot=spot)
        plan: Plan = backend.plan(spec, dry_run=dry_run)
        return plan

    def _for_jobs(self, config: TrainingConfig) -> TrainingConfig:
        """The settings with the metrics as import paths."""
        return with_metrics(config, self.metrics)
