"""A training run as a job: its settings become hyperparameters, its folders channels."""

from __future__ import annotations

from pathlib import Path

from breedclf.config import WEIGHTS_NAMES, TrainingConfig
from breedclf.errors import ConfigError, DataError, WeightsError
from breedclf.jobs import (
    DATA_CHANNEL,
    DEFAULT_MAX_RUNTIME_SECONDS,
    LABELS_CHANNEL,
    WEIGHTS_CHANNEL,
    JobSpec,
    new_name,
    remote_address,
)

_NOT_SENT = ("data", "labels", "output", "cache_dir", "resume")


def training_spec(
    config: TrainingConfig,
    *,
    name: str | None = None,
    max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS,
    spot: bool = False,
) -> JobSpec:
    """The job that trains with these settings; paths become channels, everything else hyperparameters.

    Raises:
        ConfigError: the name or a setting doesn't fit a job, or the settings name no images.
        DataError: the image folder or the table doesn't exist.
        WeightsError: the weights are neither a known name nor a file.
    """
    channels = _data_channels(config)
    pairs = {key: value for key, value in config.to_hyperparameters().items() if key not in _NOT_SENT}
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
                f"labels={config.labels} is on this machine and the images are in S3: upload both with "
                "`breedclf data upload DIR s3://... --labels FILE`, and give only the URI"
            )
        return {DATA_CHANNEL: config.data}
    from breedclf.data.tables.places import place_of

    if place_of(config.data, config.labels) is None and not config.data.is_dir():
        raise DataError(f"{config.data} is not an image folder")
    labels = {} if config.labels is None else {LABELS_CHANNEL: config.labels.absolute()}
    return {DATA_CHANNEL: config.data.absolute(), **labels}
