"""`Trainer`: settings in, a trained and measured classifier out, in this process or as a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from breedclf.api.training_job import training_spec
from breedclf.backends.registry import backend_named
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.jobs import DEFAULT_MAX_RUNTIME_SECONDS, Backend
from breedclf.jobs.handle import Job

if TYPE_CHECKING:
    from breedclf.training.hooks import TrainingHook
    from breedclf.training.lr_finder import LearningRateCurve
    from breedclf.training.result import FitResult


class Trainer:
    """Fine-tunes a pretrained network on a folder of pictures.

    Args:
        config: every setting of the training.
        backend: where `submit` runs the job: a back end, or its name; "local" if not given.

    Example:
        >>> result = Trainer(TrainingConfig(data="dogImages")).fit()  # doctest: +SKIP
        >>> result.classifier.predict("dog.jpg").top(5)  # doctest: +SKIP
        >>> job = Trainer(TrainingConfig(data="dogImages"), backend="local").submit()  # doctest: +SKIP
        >>> job.wait(progress=True).artifact  # doctest: +SKIP
    """

    def __init__(self, config: TrainingConfig, backend: Backend | str | None = None) -> None:
        self.config = config
        self._backend = backend

    def fit(self, *, hooks: Sequence[TrainingHook] = (), resume: bool | None = None) -> FitResult:
        """Train in this process; the artifact is written to `config.output`.

        Progress goes to the "breedclf" logger and, on a terminal, to a bar on stderr. SIGTERM and SIGINT end the
        training after the step under way, with its state saved.

        Args:
            hooks: told of what happens.
            resume: go on from the last checkpoint in the output; as `config.resume` says if not given.

        Raises:
            ConfigError: a setting doesn't fit this machine, the output can't be written, another training writes
                there, or its checkpoint was made with other settings.
            DataError: the pictures can't be used as they are, or aren't those of the checkpoint.
            WeightsError: the pretrained weights can't be had, don't fit or aren't safe to load.
            TrainingError: the loss is no longer a number.
            KeyboardInterrupt: the training was interrupted; the message tells how to go on.
        """
        from breedclf.loggers.chosen import logged
        from breedclf.profiling.recorder import recorded
        from breedclf.training.fit import fit
        from breedclf.training.progress import ProgressLog

        config = self.config if resume is None else self.config.replace(resume=resume)
        with recorded(config) as recorders, logged(config, hooks) as others:
            return fit(config, hooks=[ProgressLog(), *recorders, *others])

    def find_learning_rate(self, *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100) -> LearningRateCurve:
        """Try rising learning rates in a short training whose outcome is thrown away.

        Returns:
            The curve, with `suggestion` and `plot(path)`.

        Raises:
            ConfigError: the range is empty, or there are fewer than 10 steps.
            DataError: the pictures can't be used as they are.
            WeightsError: the pretrained weights can't be had, don't fit or aren't safe to load.
        """
        from breedclf.training.lr_finder import find_learning_rate

        return find_learning_rate(self.config, lowest=lowest, highest=highest, steps=steps)

    def submit(
        self,
        *,
        name: str | None = None,
        max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
        spot: bool = False,
    ) -> Job:
        """Start the training as a job and return its handle; what it writes stays with the job.

        Args:
            name: at most 63 letters, digits and hyphens; made from the time if not given.
            max_runtime_seconds: the job is stopped when it runs longer.
            spot: the job may be interrupted and started again.

        Raises:
            ConfigError: the name is taken or wrong, or a setting doesn't fit a job.
            DataError: the folder of pictures isn't there.
            WeightsError: the weights are neither a known name nor a file.
        """
        spec = training_spec(self.config, name=name, max_runtime_seconds=max_runtime_seconds, spot=spot)
        backend = self._place()
        backend.submit(spec)
        return Job(spec.name, backend)

    def plan(
        self,
        *,
        max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
        spot: bool = False,
        dry_run: bool = False,
    ) -> Any:
        """What `submit` would make, cost at most and need, on a back end that is paid for; nothing is started.

        Args:
            max_runtime_seconds: the job is stopped when it runs longer, which bounds its cost.
            spot: the job may be interrupted and started again.
            dry_run: whether the exact request is printed, too.

        Raises:
            ConfigError: the back end costs nothing to plan, or `max_cost` is set and the job may cost more.
        """
        plan = getattr(self._place(), "plan", None)
        if plan is None:
            raise ConfigError("plan() tells what a paid back end would cost; this one costs nothing")
        spec = training_spec(self.config, max_runtime_seconds=max_runtime_seconds, spot=spot)
        return plan(spec, dry_run=dry_run)

    def _place(self) -> Backend:
        backend = self._backend or "local"
        return backend_named(backend) if isinstance(backend, str) else backend
