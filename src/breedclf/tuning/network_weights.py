"""The weights of each network that a search tries, in the search and in a job that runs several of its trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breedclf.config import WEIGHTS_NAMES, TrainingConfig, weights_name
from breedclf.config.architectures import architecture_name
from breedclf.errors import ConfigError
from breedclf.jobs import WEIGHTS_CHANNEL
from breedclf.tuning.space import Categorical, Parameter

WEIGHTS_PAIR = "architecture_weights"
"""The hyperparameter with the weights by architecture: names of weights, or of the channels that have their files."""

Weights = dict[str, str]


def weights_by_architecture(
    config: TrainingConfig, space: Mapping[str, Parameter], given: Mapping[str, Any] | None = None
) -> Weights:
    """The weights of each architecture in the space: those given, or else those of the settings or their defaults.

    Empty if the search tries only one network, or tunes the weights.

    Raises:
        ConfigError: weights are given for a network that isn't in the space or besides weights in the space, or one
            file is given for several networks.

    Example:
        >>> space = {"architecture": Categorical("resnet50", "timm:vit_tiny_patch16_224")}
        >>> weights_by_architecture(TrainingConfig(data="dogs"), space)
        {'resnet50': 'IMAGENET1K_V1', 'timm:vit_tiny_patch16_224': 'pretrained'}
    """
    known = checked_weights(given or {})
    names = searched_architectures(space)
    if known and "weights" in space:
        raise ConfigError("weights are given by architecture, and they are in the space: remove one of the two")
    for name in known:
        if name not in names:
            shown = ", ".join(names) or "none"
            raise ConfigError(f"weights are given for {name}, which isn't in the space; its architectures are {shown}")
    if not names or "weights" in space:
        return {}
    chosen = {name: known.get(name) or config.replace(architecture=name).weights for name in names}
    is_one_file = "weights" in config.model_fields_set and is_file(config.weights)
    sharing = [name for name in names if name not in known]
    if is_one_file and len(sharing) > 1:
        raise ConfigError(
            f"weights={config.weights!r} is a file, which fits one network, but the search tries {', '.join(sharing)}: "
            f"give the file of each (--weights {names[0]}=FILE, or weights={{{names[0]!r}: FILE}} in Python), or leave "
            "weights out for the default ones"
        )
    return chosen


def checked_weights(weights: Mapping[str, Any]) -> Weights:
    """Weights by architecture, in their usual spelling.

    Raises:
        ConfigError: an architecture is unknown, or they aren't given by architecture.
    """
    if not isinstance(weights, Mapping):
        raise ConfigError(
            f"weights={weights!r}: give those of each network, as in {{'resnet50': 'resnet50.pth'}}; weights for all "
            "networks are a setting of the TrainingConfig"
        )
    try:
        return {str(architecture_name(name)): str(weights_name(value)) for name, value in weights.items()}
    except ValueError as error:
        raise ConfigError(str(error)) from error


def searched_architectures(space: Mapping[str, Parameter]) -> tuple[str, ...]:
    """The networks that a search tries; empty if all trials have the same one."""
    parameter = space.get("architecture")
    return tuple(map(str, parameter.values)) if isinstance(parameter, Categorical) else ()


def is_file(weights: str) -> bool:
    """Whether these weights are a path, not a name."""
    return weights not in WEIGHTS_NAMES


def sent_with_job(weights: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Path]]:
    """The hyperparameter and the channels that carry the weights of several networks.

    Example:
        >>> pairs, channels = sent_with_job({"resnet50": "none", "timm:vit_tiny_patch16_224": "vit.pth"})
        >>> pairs["architecture_weights"]
        '{"resnet50": "none", "timm:vit_tiny_patch16_224": "weights_1"}'
        >>> channels
        {'weights_1': PosixPath('vit.pth')}
    """
    files = dict.fromkeys(value for value in weights.values() if is_file(value))
    channel_of = {file: f"{WEIGHTS_CHANNEL}_{number}" for number, file in enumerate(files, 1)}
    pair = json.dumps({name: channel_of.get(value, value) for name, value in weights.items()})
    return {WEIGHTS_PAIR: pair}, {channel: Path(file) for file, channel in channel_of.items()}


def received_by_job(pair: object, channels: Mapping[str, str]) -> Weights:
    """The inverse of `sent_with_job`, with the files of the channels; the hyperparameter may be JSON or decoded.

    Raises:
        ConfigError: the hyperparameter is no table of names.
    """
    try:
        table = json.loads(pair) if isinstance(pair, str) else pair
    except ValueError as error:
        raise ConfigError(f"hyperparameter {WEIGHTS_PAIR}={pair!r} is no JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"hyperparameter {WEIGHTS_PAIR}={pair!r} is no table of weights by architecture")
    found = {str(name): str(value) for name, value in table.items()}
    return {name: channels.get(value, value) for name, value in found.items()}
