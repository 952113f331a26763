"""A training run on a backend: submit the job, wait for it, fetch what it wrote, and return the same result."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.api.model_files import place_model
from breedclf.api.training_job import training_spec
from breedclf.config import TrainingConfig
from breedclf.config.files import render_settings
from breedclf.errors import ConfigError, JobError, JobFailedError
from breedclf.files.model_folder import MODEL_FOLDER
from breedclf.jobs import Backend, JobDescription, JobStatus
from breedclf.jobs.handle import Job
from breedclf.text.json_lines import read_json_lines
from breedclf.training.interruption import StopRequest, nothing_trained

if TYPE_CHECKING:
    from breedclf.training.results.result import FitResult

log: logging.Logger = logging.getLogger(__name__)

Progress = bool | Callable[[JobDescription], None]


def fit_on_backend(
    config: TrainingConfig,
    backend: Backend,
    *,
    progress: Progress,
    name: str | None = None,
    fetch: bool = True,
    stop: StopRequest | None = None,
) -> tuple[Job, FitResult]:
    """Train as a job, and put its files into `config.output`, as training in this process does; or leave them.

    Raises:
        ConfigError: the output can't be written, or a setting doesn't fit a job; nothing was submitted.
        TrainingStoppedError: `stop` was requested before the job had trained a step.
        JobFailedError: the job failed or was stopped by someone else.
        KeyboardInterrupt: Ctrl-C was pressed; the job goes on.
    """
    from breedclf.training.records import EpochRecord
    from breedclf.training.results.artifact import HISTORY_FILE
    from breedclf.training.results.output_folder import claimed_output
    from breedclf.training.results.result import FitResult, RestOfResult

    if config.resume:
        raise ConfigError(
            "resume=True continues from the checkpoints in the output folder, in this process; a job continues from "
            "its own when it is restarted. To come back to a job: Job.attach(name, backend=...)"
        )
    stop = stop or StopRequest()
    stop.raise_if_requested()
    spec = training_spec(config, name=name)
    started = time.monotonic()
    with claimed_output(config) if fetch else nullcontext() as output:
        job = Job(spec.name, backend)
        with _stopped_on(stop, job):
            backend.submit(spec)
            if stop.is_made:
                job.request_stop()
            log.info("job %s; `breedclf jobs logs -f %s --backend %s` shows its log", job.name, job.name, backend.name)
            job.wait(progress=progress)
        description = _ended(job, may_be_stopped=stop.is_made)
        artifact, written = job.artifact, job.output
        if output is not None:
            artifact, written = _fetched(artifact, written, output, config), output
    history = [EpochRecord.from_dict(line) for line in read_json_lines(written / HISTORY_FILE)]
    best_epoch, seconds = int(description.metrics["best_epoch"]), time.monotonic() - started
    rest, stopped = RestOfResult.read(written), description.status is JobStatus.STOPPED
    return job, FitResult(
        artifact, written, history, best_epoch, seconds, rest.skipped, rest.before, stopped, rest.features
    )


@contextmanager
def _stopped_on(stop: StopRequest, job: Job) -> Iterator[None]:
    """Within it a request stops the job; one that is made before the job exists is repeated by the caller."""

    def ask() -> None:
        with suppress(JobError):
            job.request_stop()

    with stop.passed_on(ask):
        yield


def _ended(job: Job, *, may_be_stopped: bool) -> JobDescription:
    description = job.describe()
    if may_be_stopped and description.status is JobStatus.STOPPED:
        if "best_epoch" not in description.metrics:
            raise nothing_trained()
    elif description.status is not JobStatus.COMPLETED:
        raise JobFailedError(f"job {job.name} ended as {description.status}, {description.secondary_status}")
    return description


def _fetched(artifact: Path, written: Path, output: Path, config: TrainingConfig) -> Path:
    from breedclf.training.results.artifact import CONFIG_FILE
    from breedclf.training.results.output_folder import LOCK_FILE

    try:
        shutil.copytree(written, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK_FILE))
        settings = render_settings(config.to_dict(), Path(CONFIG_FILE))
        (output / CONFIG_FILE).write_text(settings, encoding="utf-8")
        return place_model(artifact, output / MODEL_FOLDER)
    except OSError as error:
        raise ConfigError(
            f"output={str(output)!r} can't be written: {error}; the model is also in {artifact}"
        ) from error
