"""A training run as a job: its settings become hyperparameters, its folders channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath

from breedclf.config import WEIGHTS_NAMES, TrainingConfig
from breedclf.config.import_path import ImportPath, metric_paths, with_files_at
from breedclf.errors import DataError, WeightsError
from breedclf.jobs import DATA_CHANNEL, DEFAULT_MAX_RUNTIME_SECONDS, WEIGHTS_CHANNEL, JobSpec, new_name, remote_address
from breedclf.jobs.metric_lines import training_metrics
from breedclf.runtime.own_source import modules_to_send

_NOT_SENT = ("data", "output", "cache_dir", "resume")


def training_spec(
    config: TrainingConfig,
    *,
    name: str | None = None,
    max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
    spot: bool = False,
    more_code: Mapping[str, ImportPath] | None = None,
) -> JobSpec:
    """The job that trains with these settings; paths become channels, everything else hyperparameters.

    Modules of your own that the settings name are sent with the job; `more_code` are those that a search may name.

    Raises:
        ConfigError: the name or a setting doesn't fit a job, or own code isn't found.
        DataError: the image folder doesn't exist.
        WeightsError: the weights are neither a known name nor a file.
    """
    data = config.data if remote_address(config.data) else config.data.absolute()
    if not remote_address(data) and not data.is_dir():
        raise DataError(f"{config.data} is not an image folder")
    channels = {DATA_CHANNEL: data}
    modules = modules_to_send({**config.own_code, **(more_code or {})})
    sent = (
        config.replace(**with_files_at(config.to_hyperparameters(), lambda file: PurePath(file).name))
        if modules
        else config
    )
    pairs = {key: value for key, value in sent.to_hyperparameters().items() if key not in _NOT_SENT}
    if config.weights not in WEIGHTS_NAMES:
        weights = Path(config.weights).absolute()
        if not weights.is_file():
            raise WeightsError(f"weights={config.weights!r} is neither {', '.join(WEIGHTS_NAMES)} nor a file")
        channels[WEIGHTS_CHANNEL] = weights
        del pairs["weights"]
    return JobSpec(
        name=new_name("train") if name is None else name,
        hyperparameters=pairs,
        channels=channels,
        metric_definitions=training_metrics(metric_paths(config.metrics)).definitions,
        modules=modules,
        max_runtime_seconds=max_runtime_seconds,
        gpus=0 if config.device == "cpu" else None,
        cache_dir=None if config.cache_dir is None else config.cache_dir.absolute(),
        spot=spot,
    )
