"""A training run as a job: its settings become hyperparameters, its folders channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath

from breedclf.api.network_check import check_network
from breedclf.config import TrainingConfig
from breedclf.config.import_path import ImportPath, metric_paths, with_files_at
from breedclf.errors import ConfigError, DataError
from breedclf.files.s3_uri import whole_uri
from breedclf.jobs import (
    DATA_CHANNEL,
    DEFAULT_MAX_RUNTIME_SECONDS,
    LABELS_CHANNEL,
    MODEL_CHANNEL,
    WEIGHTS_CHANNEL,
    JobSpec,
    new_name,
    remote_address,
)
from breedclf.jobs.metric_lines import training_metrics
from breedclf.runtime.own_source import modules_to_send
from breedclf.runtime.process_signals import ending_at_once
from breedclf.tuning.network_weights import is_file, sent_with_job

_NOT_SENT = ("data", "labels", "output", "cache_dir", "resume", "start_from")


def with_checked_model(config: TrainingConfig) -> TrainingConfig:
    """The settings with what the model of `start_from` determines; it is read whole, before anything is sent.

    Raises:
        ArtifactError: the model can't be read, or is damaged.
        ConfigError: a setting contradicts it.
    """
    if config.start_from is None:
        return config
    with ending_at_once():
        from breedclf.training.start_model import start_weights, with_start_model

    found = with_start_model(config)
    assert found.start_from is not None
    start_weights(found.start_from)
    return found


def training_spec(
    config: TrainingConfig,
    *,
    name: str | None = None,
    max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
    spot: bool = False,
    more_code: Mapping[str, ImportPath] | None = None,
    weights: Mapping[str, str] | None = None,
) -> JobSpec:
    """The job that trains with these settings; paths become channels, everything else hyperparameters.

    Modules of your own that the settings name are sent with the job; `more_code` are those that a search may name.
    `weights` are those of several networks, by architecture, of a job that runs trials of a search.

    Raises:
        ConfigError: the name or a setting doesn't fit a job, the settings name no folder, or own code isn't found.
        DataError: the image folder or the table doesn't exist.
        WeightsError: the weights are neither a known name nor a file, or there are none of that name.
        MissingExtraError: the network is timm's, and timm isn't installed.
        ArtifactError: the model of `start_from` can't be read, or is damaged.
    """
    config = with_checked_model(config)
    channels = _data_channels(config)
    check_network(config)
    modules = modules_to_send({**config.own_code, **(more_code or {})})
    sent = (
        config.replace(**with_files_at(config.to_hyperparameters(), lambda file: PurePath(file).name))
        if modules
        else config
    )
    pairs = {key: value for key, value in sent.to_hyperparameters().items() if key not in _NOT_SENT}
    if config.start_from is not None:
        channels[MODEL_CHANNEL] = config.start_from.absolute()
    elif weights:
        by_architecture, files = sent_with_job(weights)
        channels |= {channel: file.absolute() for channel, file in files.items()}
        pairs = {**{key: value for key, value in pairs.items() if key != "weights"}, **by_architecture}
    elif is_file(config.weights):
        channels[WEIGHTS_CHANNEL] = Path(config.weights).absolute()
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


def _data_channels(config: TrainingConfig) -> dict[str, Path]:
    """The folder or table of the images, and the table of their labels if it is beside a folder."""
    if config.data is None:
        raise ConfigError("a job needs an image folder or a table: set data in the config")
    if remote_address(config.data):
        if config.labels is not None:
            raise DataError(
                f"labels={whole_uri(config.labels)} is on this machine and the images are in S3: upload both with "
                "`breedclf data upload DIR s3://... --labels FILE`, and give only the URI"
            )
        return {DATA_CHANNEL: config.data}
    from breedclf.data.tables.places import place_of

    if place_of(config.data, config.labels) is None and not config.data.is_dir():
        raise DataError(f"{config.data} is not an image folder")
    labels = {} if config.labels is None else {LABELS_CHANNEL: config.labels.absolute()}
    return {DATA_CHANNEL: config.data.absolute(), **labels}
