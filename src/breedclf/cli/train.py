"""`breedclf train DIR|TABLE`: fine-tune in this process, or as a job."""

from __future__ import annotations

import argparse
from typing import Any

from breedclf.api.fit_on_backend import fit_on_backend
from breedclf.api.trainer import Trainer
from breedclf.backends.registry import backend_named, backend_names
from breedclf.cli.flags import add_data_argument, add_settings_flags, data_arguments, training_config
from breedclf.cli.terminal import Terminal
from breedclf.config import TrainingConfig
from breedclf.config.groups import TRAINING_GROUPS
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.training.records import EpochRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [DIR|TABLE] [OPTION ...]"
    add_data_argument(parser)
    parser.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    parser.add_argument("--backend", metavar="|".join(backend_names()), help="train as a job on this backend")
    parser.add_argument("--job-name", metavar="NAME", help="name of that job (default: made from the time)")
    add_settings_flags(parser, TrainingConfig, TRAINING_GROUPS, leave_out=["data"])


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    config = training_config(arguments)
    if arguments.backend is not None:
        document = _train_as_job(config, arguments, terminal)
    elif arguments.job_name is not None:
        raise ConfigError(f"--job-name {arguments.job_name}: only a job has a name; add --backend")
    else:
        document = Trainer(config).fit().to_dict()
    best = EpochRecord.from_dict(document["history"][document["best_epoch"] - 1])
    own = "".join(f", {name} {value:.4f}" for name, value in best.metrics.items())
    terminal.result(
        document,
        f"best epoch {best.epoch}: valid accuracy {best.valid_accuracy:.1%}, valid loss {best.valid_loss:.4f}{own}\n"
        f"model: {document['artifact']} ({document['seconds']:.1f} s)\n"
        f"next: breedclf evaluate {document['artifact']} {data_arguments(config)}",
    )
    return 0


def _train_as_job(config: TrainingConfig, arguments: argparse.Namespace, terminal: Terminal) -> dict[str, Any]:
    """Train as a job and wait; its files are copied only to an output that was named."""
    job, result = fit_on_backend(
        config,
        backend_named(arguments.backend),
        name=arguments.job_name,
        progress=not terminal.quiet,
        fetch="output" in config.model_fields_set,
    )
    return result.to_dict() | {"job": job.name}
