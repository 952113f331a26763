"""The `Job` handle: watch, stop and fetch a job by name, from any process and on any back end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

from breedclf.errors import JobError, JobFailedError, JobTimeoutError
from breedclf.jobs import (
    Backend,
    JobDescription,
    JobStatus,
    MetricRecord,
    check_name,
    iterate_lines,
    pauses,
    seconds_until_complete,
)

_SECOND_INTERRUPT_SECONDS = 2.0


class Clock(Protocol):
    """The time, as the `time` module tells it; tests bring their own."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Job:
    """A job on a back end, known by its name.

    Example:
        >>> job = Trainer(config, backend=LocalBackend()).submit()  # doctest: +SKIP
        >>> job.wait().artifact  # doctest: +SKIP
    """

    def __init__(self, name: str, backend: Backend, *, clock: Clock = time) -> None:
        self.name = check_name(name)
        self.backend = backend
        self._clock = clock

    @classmethod
    def attach(cls, name: str, *, backend: Backend) -> Self:
        """The handle of a job that some process submitted.

        Raises:
            JobError: the back end knows no such job.
        """
        job = cls(name, backend)
        job.describe()
        return job

    def __repr__(self) -> str:
        return f"Job({self.name!r}, backend={self.backend.name!r})"

    def describe(self) -> JobDescription:
        """Everything the back end knows about the job now."""
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
        """The value of each metric that was reported last."""
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
        """Ask the job to stop and return at once; nothing happens if it has ended."""
        self.backend.stop(self.name)

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines of the job's log so far; with `follow`, also those to come, until the job ends.

        Where log lines may arrive after the job has ended, following goes on for as long as they may.
        """
        return iterate_lines(self._log_parts(follow))

    def wait(
        self,
        *,
        progress: bool | Callable[[JobDescription], None] = False,
        timeout: float | None = None,
        check: bool = True,
    ) -> Self:
        """Wait until the job has ended, and return it.

        Ctrl-C stops the waiting and not the job; a second one, within two seconds, stops the job. Where logs and
        metrics arrive late, as on SageMaker, this returns once they are complete.

        Args:
            progress: True tells on stderr whenever the job's status or metrics change; a function is called instead.
            timeout: seconds to wait at most; None waits as long as it takes.
            check: whether a failed job raises.

        Raises:
            JobFailedError: the job failed; the message is its reason.
            JobTimeoutError: the time is over; the job goes on.
        """
        try:
            description = self._wait(_reporter(progress), timeout)
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
        """The description of a job that has ended, once everything that it reported has arrived."""
        late = seconds_until_complete(self.backend, ended, self._clock.time())
        if not late:
            return ended
        self._clock.sleep(late)
        description = self.describe()
        report(description)
        return description

    def _detach(self) -> None:
        """Say how to come back to the job; stop it when Ctrl-C comes again."""
        try:
            if self.describe().status.is_final:
                return
            _tell(
                f"\njob {self.name} goes on; come back with Job.attach({self.name!r}, backend=...) or "
                f"`breedclf jobs logs -f {self.name} --backend {self.backend.name}`; Ctrl-C again now to stop it"
            )
            self._clock.sleep(_SECOND_INTERRUPT_SECONDS)
        except KeyboardInterrupt:
            self.stop()
            _tell(f"asked job {self.name} to stop")

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
            ended = description.status.is_final  # and what came until then is read once more
            if not ended:
                self._clock.sleep(next(waits))
            elif late := seconds_until_complete(self.backend, description, self._clock.time()):
                self._clock.sleep(late)


def require_ended(description: JobDescription) -> None:
    """What a job wrote is whole only once it has ended.

    Raises:
        JobError: it hasn't.
    """
    if not description.status.is_final:
        raise JobError(
            f"job {description.name} is still {description.status} ({description.secondary_status}); "
            "wait() for it before fetching what it wrote"
        )


def _reporter(progress: bool | Callable[[JobDescription], None]) -> Callable[[JobDescription], None]:
    if callable(progress):
        return progress
    return _Teller() if progress else lambda _: None


class _Teller:
    """Tells on stderr what changed since the last time."""

    def __init__(self) -> None:
        self._told: tuple[Any, ...] = ()

    def __call__(self, description: JobDescription) -> None:
        now = (description.secondary_status, dict(description.metrics))
        if now == self._told:
            return
        self._told = now
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in description.metrics.items())
        _tell(f"{description.name}  {description.secondary_status}  {metrics}".rstrip())


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
