"""The allowed values of settings that take one of several names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

from breedclf.config.base import nearest
from breedclf.files.paths import StrPath, text_path, user_uri

Architecture = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
Freeze = Literal["head", "layer4", "none"]
Head = Literal["standardized", "linear"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["auto", "constant", "cosine", "one_cycle"]
ClassWeights = Literal["none", "balanced"]
Augment = Literal["auto", "none", "crop"]
BatchNorm = Literal["auto", "fixed", "trained"]
Objective = Literal["valid_loss", "valid_accuracy"]
OnBadImage = Literal["error", "skip"]
Precision = Literal["auto", "fp32", "bf16"]
TrainingPrecision = Literal["auto", "fp32", "bf16", "int8"]
Engine = Literal["torch", "openvino"]
Profiling = Literal["off", "timers", "full"]
Device = Literal["auto", "cpu", "cuda", "mps"]

WEIGHTS_NAMES = ("IMAGENET1K_V1", "IMAGENET1K_V2", "none")
START_MODEL = "start_from"
"""The value of `weights` in a run that continues a model: its weights are the initial ones."""
LOGGER_NAMES = ("mlflow", "tensorboard")


def weights_name(value: object) -> object:
    """`None` and any spelling of a known name become that name; everything else is a path.

    Example:
        >>> weights_name(None), weights_name("imagenet1k_v2"), weights_name("resnet50.pth")
        ('none', 'IMAGENET1K_V2', 'resnet50.pth')
    """
    if value is None:
        return "none"
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    known = {name.lower(): name for name in (*WEIGHTS_NAMES, START_MODEL)}
    return known.get(text.lower()) or str(text_path(text, "weights"))


def checked_mlflow_uri(value: object) -> object:
    """A checked URI; other values are left to pydantic."""
    return user_uri(value, "mlflow_uri") if isinstance(value, str) else value


def logger_names(value: object) -> object:
    """Logger names, separated by commas or in a list, as one sorted text; an unknown name is refused.

    Example:
        >>> logger_names("tensorboard, mlflow"), logger_names([])
        ('mlflow,tensorboard', 'none')
    """
    parts = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else None
    if parts is None:
        return value
    names = sorted({str(name).strip().lower() for name in parts} - {"", "none"})
    for name in names:
        if name not in LOGGER_NAMES:
            raise ValueError(f"log_to={name!r} is no logger: {nearest(name, LOGGER_NAMES)}")
    return ",".join(names) or "none"


if TYPE_CHECKING:
    from breedclf.config.base import Takes

    Weights = Takes[StrPath | None, str]
    LogTo = Takes[str | Sequence[str], str]
else:
    Weights = Annotated[str, BeforeValidator(weights_name)]
    LogTo = Annotated[str, BeforeValidator(logger_names)]
