"""`breedclf train DIR`: fine-tune in this process, or as a job, and hand over the model."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from breedclf.api.trainer import Trainer
from breedclf.backends.registry import backend_named, backend_names
from breedclf.cli.console import Console
from breedclf.cli.flags import add_settings_flags, training_config
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError, JobFailedError
from breedclf.files.paths import path_argument
from breedclf.jobs import JobStatus
from breedclf.jobs.handle import Job
from breedclf.text.json_lines import read_json_lines
from breedclf.training.records import EpochRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DIR", nargs="?", default=argparse.SUPPRESS, help="folder of pictures")
    parser.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    parser.add_argument("--backend", metavar="|".join(backend_names()), help="train as a job, there")
    parser.add_argument("--job-name", metavar="NAME", help="name of that job (default: made from the time)")
    add_settings_flags(parser, TrainingConfig, leave_out=["data"])


def run(arguments: argparse.Namespace, console: Console) -> int:
    config = training_config(arguments)
    if arguments.backend is not None:
        document = _train_as_job(config, arguments, console)
    elif arguments.job_name is not None:
        raise ConfigError(f"--job-name {arguments.job_name}: only a job has a name; say --backend, too")
    else:
        document = Trainer(config).fit().to_dict()
    best = EpochRecord.from_dict(document["history"][document["best_epoch"] - 1])
    console.result(
        document,
        f"best epoch {best.epoch}: valid accuracy {best.valid_accuracy:.1%}, valid loss {best.valid_loss:.4f}\n"
        f"model: {document['artifact']} ({document['seconds']:.1f} s)\n"
        f"next: breedclf evaluate {document['artifact']} {config.data}",
    )
    return 0


def _train_as_job(config: TrainingConfig, arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train as a job and wait; with `--output`, the job's model and history are copied there."""
    from breedclf.training.output_folder import writable

    if "output" in config.model_fields_set:
        writable(config.output)  # tried before the job is paid for
    started = time.monotonic()
    job = Trainer(config, backend=backend_named(arguments.backend)).submit(name=arguments.job_name)
    console.note(f"job {job.name}; `breedclf jobs logs -f {job.name}` shows its log")
    job.wait(progress=not console.quiet)
    description = job.describe()
    if description.status is not JobStatus.COMPLETED:
        raise JobFailedError(f"job {job.name} ended as {description.status}, {description.secondary_status}")
    artifact, output = job.artifact, job.output
    if "output" in config.model_fields_set:
        artifact, output = _fetch(job, config.output)
    return {
        "artifact": str(artifact),
        "output": str(output),
        "history": list(read_json_lines(output / "history.jsonl")),
        "best_epoch": int(description.metrics["best_epoch"]),
        "seconds": round(time.monotonic() - started, 3),
        "job": job.name,
    }


def _fetch(job: Job, target: Path) -> tuple[Path, Path]:
    try:
        shutil.copytree(job.output, target, dirs_exist_ok=True)
        shutil.copytree(job.artifact, target / "model", dirs_exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output={str(target)!r} can't be written: {error}; the model is in {job.artifact}, too"
        ) from error
    return target / "model", target
