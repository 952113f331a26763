"""How to repeat a training job: its settings as Python and as a command, only what differs from the defaults."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from breedclf.config import TrainingConfig
from breedclf.config.import_path import with_files_at
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import whole_uri
from breedclf.jobs import (
    DATA_CHANNEL,
    DEFAULT_MAX_RUNTIME_SECONDS,
    LABELS_CHANNEL,
    MODEL_CHANNEL,
    WEIGHTS_CHANNEL,
    JobSpec,
)


@dataclass(frozen=True)
class Repeating:
    """Python and a command that start a job with the settings of another.

    `notes` say what they can't express.
    """

    python: str
    command: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "notes": list(self.notes)}


def repeating(spec: JobSpec, backend: str) -> Repeating | None:
    """How to repeat a job; None if it isn't a plain training run of breedclf.

    Example:
        >>> repeating(JobSpec("a", {"epochs": "5"}, {"training": "/photos"}), "local").command
        'breedclf train /photos --epochs 5 --backend local'
    """
    if spec.source is not None:
        return None
    try:
        config = training_config_of(spec)
        settings = changed_settings(config)
    except ConfigError:
        return None
    data = settings.pop("data")
    more = {
        name: value
        for name, value, default in (
            ("max_runtime_seconds", spec.max_runtime_seconds, DEFAULT_MAX_RUNTIME_SECONDS),
            ("spot", spec.spot, False),
        )
        if value != default
    }
    notes = []
    if more:
        told = " and ".join(f"{name}={value!r}" for name, value in more.items())
        notes.append(f"The command has no flag for {told}; Python does.")
    if config.own_code:
        notes.append("Code of your own is taken as it is now, which may differ from what the job ran.")
    return Repeating(_python(data, settings, more, backend), _command(data, settings, backend), tuple(notes))


def training_config_of(spec: JobSpec) -> TrainingConfig:
    """The settings that a training job was submitted with, except where its files were to go.

    Raises:
        ConfigError: it isn't a plain training job.
    """
    channels = {name: whole_uri(path) for name, path in spec.channels.items()}
    if DATA_CHANNEL not in channels:
        raise ConfigError("the job has no channel of images")
    given: dict[str, Any] = {"data": channels[DATA_CHANNEL]}
    for channel, setting in ((LABELS_CHANNEL, "labels"), (MODEL_CHANNEL, "start_from"), (WEIGHTS_CHANNEL, "weights")):
        if channel in channels:
            given[setting] = channels[channel]
    if spec.cache_dir is not None:
        given["cache_dir"] = str(spec.cache_dir)
    pairs = {name: value for name, value in spec.hyperparameters.items() if name not in given}
    files = {PurePath(path).name: str(path) for path in spec.modules.values()}
    placed = with_files_at({name: str(value) for name, value in pairs.items()}, lambda file: files.get(file, file))
    return TrainingConfig.from_hyperparameters({**pairs, **placed}, **given)


def changed_settings(config: TrainingConfig) -> dict[str, Any]:
    """The settings that differ from the defaults, as plain values by name.

    Defaults that depend on other settings, as those of the weights do, are taken as they are with these.
    """
    decisive = {name: getattr(config, name) for name in ("data", "architecture", "start_from")}
    default = TrainingConfig(**decisive)
    plain = config.to_dict()
    return {
        name: plain[name]
        for name in TrainingConfig.model_fields
        if name in plain and (name == "data" or plain[name] != _default(default, name))
    }


def _default(default: TrainingConfig, name: str) -> object:
    if name in ("architecture", "start_from"):
        return TrainingConfig.model_fields[name].default
    return default.to_dict().get(name)


def _python(data: str, settings: Mapping[str, Any], more: Mapping[str, Any], backend: str) -> str:
    lines = [f"    {name}={value!r},\n" for name, value in {"data": data, **settings}.items()]
    options = ", ".join(f"{name}={value!r}" for name, value in more.items())
    return (
        "from breedclf import Trainer, TrainingConfig\n\n"
        f"config = TrainingConfig(\n{''.join(lines)})\n"
        f"job = Trainer(config, backend={backend!r}).submit({options})\n"
    )


def _command(data: str, settings: Mapping[str, Any], backend: str) -> str:
    words = ["breedclf", "train", data if not data.startswith("-") else f"./{data}"]
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif str(value).startswith("-"):
            words.append(f"--{flag}={value}")
        else:
            words += [f"--{flag}", str(value)]
    return shlex.join([*words, "--backend", backend])
