"""The typed settings, from Python, files, the environment, flags and hyperparameters.

Names are loaded on first use: the limits and the old names are needed by processes that can't wait for pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breedclf.config.base import Settings, nearest
    from breedclf.config.choices import (
        LOGGER_NAMES,
        WEIGHTS_NAMES,
        Architecture,
        Augment,
        BatchNorm,
        ClassWeights,
        Device,
        Engine,
        Freeze,
        Head,
        Objective,
        OnBadImage,
        OptimizerName,
        Precision,
        Profiling,
        Schedule,
        TrainingPrecision,
        weights_name,
    )
    from breedclf.config.environment import ENVIRONMENT_PREFIX
    from breedclf.config.evaluation import EvaluationConfig
    from breedclf.config.files import read_settings
    from breedclf.config.hyperparameters import MAX_HYPERPARAMETER_CHARS, MAX_HYPERPARAMETERS
    from breedclf.config.training import TrainingConfig

_MODULE_OF = {
    "Architecture": "choices",
    "Augment": "choices",
    "BatchNorm": "choices",
    "ClassWeights": "choices",
    "Device": "choices",
    "ENVIRONMENT_PREFIX": "environment",
    "Engine": "choices",
    "EvaluationConfig": "evaluation",
    "Freeze": "choices",
    "Head": "choices",
    "LOGGER_NAMES": "choices",
    "MAX_HYPERPARAMETERS": "hyperparameters",
    "MAX_HYPERPARAMETER_CHARS": "hyperparameters",
    "Objective": "choices",
    "OnBadImage": "choices",
    "OptimizerName": "choices",
    "Precision": "choices",
    "Profiling": "choices",
    "Schedule": "choices",
    "Settings": "base",
    "TrainingConfig": "training",
    "TrainingPrecision": "choices",
    "WEIGHTS_NAMES": "choices",
    "nearest": "base",
    "read_settings": "files",
    "weights_name": "choices",
}

__all__ = [
    "ENVIRONMENT_PREFIX",
    "LOGGER_NAMES",
    "MAX_HYPERPARAMETERS",
    "MAX_HYPERPARAMETER_CHARS",
    "WEIGHTS_NAMES",
    "Architecture",
    "Augment",
    "BatchNorm",
    "ClassWeights",
    "Device",
    "Engine",
    "EvaluationConfig",
    "Freeze",
    "Head",
    "Objective",
    "OnBadImage",
    "OptimizerName",
    "Precision",
    "Profiling",
    "Schedule",
    "Settings",
    "TrainingConfig",
    "TrainingPrecision",
    "nearest",
    "read_settings",
    "weights_name",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
