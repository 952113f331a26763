"""A training run on a backend: submit the job, wait for it, fetch what it wrote, and return the same result."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breedclf.api.model_files import place_model
from breedclf.api.training_job import training_spec
from breedclf.config import TrainingConfig
from breedclf.config.files import render_settings
from breedclf.errors import ConfigError, JobFailedError
from breedclf.files.model_folder import MODEL_FOLDER
from breedclf.jobs import RESULT_FILE, Backend, JobDescription, JobStatus
from breedclf.jobs.handle import Job
from breedclf.text.json_lines import read_json_lines

if TYPE_CHECKING:
    from breedclf.training.result import FitResult

log: logging.Logger = logging.getLogger(__name__)

Progress = bool | Callable[[JobDescription], None]


def fit_on_backend(
    config: TrainingConfig, backend: Backend, *, progress: Progress, name: str | None = None, fetch: bool = True
) -> tuple[Job, FitResult]:
    """Train as a job, and put its files into `config.output`, as training in this process does; or leave them.

    Raises:
        ConfigError: the output can't be written, or a setting doesn't fit a job; nothing was submitted.
        JobFailedError: the job failed or was stopped.
        KeyboardInterrupt: Ctrl-C was pressed; the job goes on.
    """
    from breedclf.training.artifact import HISTORY_FILE
    from breedclf.training.output_folder import claimed_output
    from breedclf.training.records import BeforeTraining, EpochRecord
    from breedclf.training.result import FitResult

    if config.resume:
        raise ConfigError(
            "resume=True continues from the checkpoints in the output folder, in this process; a job continues from "
            "its own when it is restarted. To come back to a job: Job.attach(name, backend=...)"
        )
    spec = training_spec(config, name=name)
    started = time.monotonic()
    with claimed_output(config) if fetch else nullcontext() as output:
        backend.submit(spec)
        job = Job(spec.name, backend)
        log.info("job %s; `breedclf jobs logs -f %s --backend %s` shows its log", job.name, job.name, backend.name)
        job.wait(progress=progress)
        description = _completed(job)
        artifact, written = job.artifact, job.output
        if output is not None:
            artifact, written = _fetched(artifact, written, output, config), output
    history = [EpochRecord.from_dict(line) for line in read_json_lines(written / HISTORY_FILE)]
    best_epoch, seconds = int(description.metrics["best_epoch"]), time.monotonic() - started
    more = _more_results(written / RESULT_FILE)
    before = BeforeTraining.from_dict(more["before"]) if "before" in more else None
    return job, FitResult(artifact, written, history, best_epoch, seconds, more.get("skipped", []), before)


def _completed(job: Job) -> JobDescription:
    description = job.describe()
    if description.status is not JobStatus.COMPLETED:
        raise JobFailedError(f"job {job.name} ended as {description.status}, {description.secondary_status}")
    return description


def _fetched(artifact: Path, written: Path, output: Path, config: TrainingConfig) -> Path:
    from breedclf.training.artifact import CONFIG_FILE
    from breedclf.training.output_folder import LOCK_FILE

    try:
        shutil.copytree(written, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK_FILE))
        settings = render_settings(config.to_dict(), Path(CONFIG_FILE))
        (output / CONFIG_FILE).write_text(settings, encoding="utf-8")
        return place_model(artifact, output / MODEL_FOLDER)
    except OSError as error:
        raise ConfigError(
            f"output={str(output)!r} can't be written: {error}; the model is also in {artifact}"
        ) from error


def _more_results(file: Path) -> dict[str, Any]:
    """What a job's metrics and history don't hold; a job of an older version has no such file."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
