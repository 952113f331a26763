"""From the settings of a training to the job that carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from breedclf.config import WEIGHTS_NAMES, TrainingConfig
from breedclf.jobs import DATA_CHANNEL, WEIGHTS_CHANNEL, JobSpec

_PLACES = ("data", "output", "cache_dir", "weights")


def training_spec(config: TrainingConfig, *, name: str, tags: Mapping[str, str] | None = None) -> JobSpec:
    """The job that trains with these settings: pictures and a weights file become channels, the rest hyperparameters.

    Raises:
        ConfigError: the name or a value is outside of a job's limits.
    """
    pairs = config.to_hyperparameters()
    channels = {DATA_CHANNEL: config.data.absolute()}
    if config.weights in WEIGHTS_NAMES:
        kept = {"weights": pairs["weights"]}
    else:
        kept = {}
        channels[WEIGHTS_CHANNEL] = Path(config.weights).absolute()
    hyperparameters = {key: value for key, value in pairs.items() if key not in _PLACES} | kept
    return JobSpec(
        name=name,
        hyperparameters=hyperparameters,
        channels=channels,
        cache_dir=config.cache_dir,
        tags=dict(tags or {}),
    )
