"""The `Job` handle: watch, stop and fetch a job by name, from any process and on any backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from breedclf.config.aliases import accept_old_keywords
from breedclf.errors import JobError, JobFailedError, JobTimeoutError
from breedclf.jobs import (
    SYSTEM_CLOCK,
    Backend,
    Clock as Clock,
    JobDescription,
    JobStatus,
    MetricRecord,
    check_name,
    detach,
    iterate_lines,
    pauses,
    print_on_stderr,
    seconds_until_complete,
)
from breedclf.text.html_repr import html_repr


class Job:
    """A job on a backend, identified by its name: handles of the same job are equal, and can be pickled.

    Each property is a new call of the backend, on SageMaker one or more service calls; to read several values, call
    `describe()` once.

    Args:
        name: the job's name.
        backend: where the job runs.
        clock: the time, for tests.

    Example:
        >>> job = Trainer(config, backend=LocalBackend()).submit()  # doctest: +SKIP
        >>> job.wait().artifact  # doctest: +SKIP
    """

    def __init__(self, name: str, backend: Backend, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name: str = check_name(name)
        self.backend = backend
        self._clock = clock

    @classmethod
    def attach(cls, name: str, *, backend: Backend | str | None = None) -> Self:
        """The handle of a job that any process submitted.

        Args:
            name: the job's name.
            backend: where it runs: a backend, or its name; "local" if not given.

        Raises:
            JobError: there is no such job on this backend.
        """
        # Imported by name, since jobs don't depend on backends.
        chosen: Backend = import_module("breedclf.backends.registry").backend_of(backend)
        job = cls(name, chosen)
        job.describe()
        return job

    def __repr__(self) -> str:
        return f"Job({self.name!r}, backend={self.backend.name!r})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.jobs.view import job_view

        return job_view(self.name, self.backend.name, self.describe)

    def __eq__(self, other: object) -> bool:
        """Whether both are handles of the same job: the same name on an equal backend."""
        if not isinstance(other, Job):
            return NotImplemented
        return self.name == other.name and self.backend == other.backend

    def __hash__(self) -> int:
        return hash((self.name, self.backend.name))

    def describe(self) -> JobDescription:
        """A snapshot of the job: one call of the backend."""
        return self.backend.describe(self.name)

    @property
    def status(self) -> JobStatus:
        """InProgress, Completed, Failed, Stopping or Stopped."""
        return self.describe().status

    @property
    def secondary_status(self) -> str:
        """What the job is doing right now, in SageMaker's words."""
        return self.describe().secondary_status

    @property
    def metrics(self) -> dict[str, float]:
        """The last reported value of each metric."""
        return dict(self.describe().metrics)

    @property
    def metric_history(self) -> list[MetricRecord]:
        """Everything the job's metric lines reported, in order."""
        return self.backend.metric_history(self.name)

    @property
    def failure_reason(self) -> str | None:
        """Why the job failed; None unless it did."""
        return self.describe().failure_reason

    @property
    def artifact(self) -> Path:
        """A folder on this machine with the trained model.

        Raises:
            JobError: the job hasn't ended, or left no model.
        """
        return self.backend.artifact(self.name)

    @property
    def output(self) -> Path:
        """A folder on this machine with everything else that the job wrote.

        Raises:
            JobError: the job hasn't ended.
        """
        return self.backend.output(self.name)

    def stop(self) -> None:
        """Ask the job to stop and return at once; does nothing if it has ended.

        A training run ends after its step and, once it has trained a step, leaves its best model so far: the job's
        status is Stopped, and `artifact` is that model. What doesn't end within the backend's grace period (two minutes
        on SageMaker) is killed.
        """
        self.backend.stop(self.name)

    def request_stop(self) -> None:
        """The same as `stop`, under the name that `Trainer` has for it."""
        self.stop()

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines of the job's log so far; with `follow`, also new ones until the job ends.

        On backends whose log lines may arrive after the job has ended, following includes those.
        """
        return iterate_lines(self._log_parts(follow))

    @accept_old_keywords
    def wait(
        self,
        *,
        progress: bool | Callable[[JobDescription], None] = False,
        timeout_seconds: float | None = None,
        check: bool = True,
    ) -> Self:
        """Wait until the job has ended, and return it.

        Ctrl-C stops waiting, but not the job; a second Ctrl-C within two seconds stops the job. On backends whose logs
        and metrics arrive late, such as SageMaker, this returns once they are complete.

        Args:
            progress: True prints a line on stderr whenever the status or the metrics change; a function is called with
                the description at each poll instead.
            timeout_seconds: how long to wait at most; without limit if None.
            check: whether to raise if the job failed.

        Raises:
            JobFailedError: the job failed; the message is its reason.
            JobTimeoutError: the job hasn't ended in time; it goes on.
        """
        try:
            description = self._wait(_reporter(progress), timeout_seconds)
        except KeyboardInterrupt:
            self._detach()
            raise
        if check and description.status is JobStatus.FAILED:
            raise JobFailedError(f"job {self.name} failed: {description.failure_reason}")
        return self

    def _wait(self, report: Callable[[JobDescription], None], timeout: float | None) -> JobDescription:
        until = None if timeout is None else self._clock.monotonic() + timeout
        for pause in pauses(self.backend):
            description = self.describe()
            report(description)
            if description.status.is_final:
                return self._complete(description, report)
            if until is not None and self._clock.monotonic() >= until:
                raise JobTimeoutError(
                    f"job {self.name} is still {description.status} ({description.secondary_status}) "
                    f"after {timeout:g} seconds; it goes on"
                )
            self._clock.sleep(pause if until is None else min(pause, max(0.0, until - self._clock.monotonic())))
        raise AssertionError("pauses never end")

    def _complete(self, ended: JobDescription, report: Callable[[JobDescription], None]) -> JobDescription:
        """The description of an ended job, once everything it reported has arrived."""
        late = seconds_until_complete(self.backend, ended, self._clock.time())
        if not late:
            return ended
        self._clock.sleep(late)
        description = self.describe()
        report(description)
        return description

    def _detach(self) -> None:
        """Print how to come back to the job; stop it if Ctrl-C is pressed again."""
        detach(self._notice, self._stop_after_interrupt, self._clock)

    def _notice(self) -> str | None:
        if self.describe().status.is_final:
            return None
        return (
            f"\njob {self.name} goes on; come back with Job.attach({self.name!r}, backend=...) or "
            f"`breedclf jobs logs -f {self.name} --backend {self.backend.name}`; press Ctrl-C again now to stop it"
        )

    def _stop_after_interrupt(self) -> None:
        self.stop()
        print_on_stderr(f"asked job {self.name} to stop")

    def _log_parts(self, follow: bool) -> Iterator[str]:
        position = 0
        ended = not follow
        waits = pauses(self.backend)
        while True:
            text, position = self.backend.read_log(self.name, position)
            if text:
                yield text
                waits = pauses(self.backend)
                continue
            if ended:
                return
            description = self.describe()
            ended = description.status.is_final  # what was written until then is read in one more round
            if not ended:
                self._clock.sleep(next(waits))
            elif late := seconds_until_complete(self.backend, description, self._clock.time()):
                self._clock.sleep(late)


def require_ended(description: JobDescription) -> None:
    """Check that a job has ended, since its files are incomplete until then.

    Raises:
        JobError: it hasn't ended.
    """
    if not description.status.is_final:
        raise JobError(
            f"job {description.name} is still {description.status} ({description.secondary_status}); "
            "wait() for it before fetching what it wrote"
        )


def progress_lines(write: Callable[[str], None] = print_on_stderr) -> Callable[[JobDescription], None]:
    """A function for `Job.wait(progress=...)` that writes a line whenever the status or the metrics have changed."""
    written: tuple[Any, ...] = ()

    def report(description: JobDescription) -> None:
        nonlocal written
        now = (description.secondary_status, dict(description.metrics))
        if now != written:
            written = now
            metrics = "  ".join(f"{name} {value:.4g}" for name, value in description.metrics.items())
            write(f"{description.name}  {description.secondary_status}  {metrics}".rstrip())

    return report


def _reporter(progress: bool | Callable[[JobDescription], None]) -> Callable[[JobDescription], None]:
    if callable(progress):
        return progress
    return progress_lines() if progress else lambda _: None
