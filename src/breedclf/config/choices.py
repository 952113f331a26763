"""The allowed values of settings that take one of several names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

from breedclf.config.architectures import architecture_name
from breedclf.config.base import MaybeText, nearest
from breedclf.files.paths import StrPath, text_path, user_uri
from breedclf.files.s3_uri import S3Location, is_bucket_name, is_s3, whole_uri
from breedclf.text.printable import storable

Head = Literal["standardized", "whitened", "linear"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["auto", "constant", "cosine", "one_cycle"]
ClassWeights = Literal["none", "balanced"]
Augment = Literal["auto", "none", "flip", "crop"]
BatchNorm = Literal["auto", "fixed", "trained"]
Objective = Literal["valid_loss", "valid_accuracy"]
OnBadImage = Literal["error", "skip"]
Precision = Literal["auto", "fp32", "bf16"]
TrainingPrecision = Literal["auto", "fp32", "bf16", "int8"]
Engine = Literal["torch", "openvino"]
Profiling = Literal["off", "timers", "full"]
Device = Literal["auto", "cpu", "cuda", "mps"]

WEIGHTS_NAMES = (
    "IMAGENET1K_V1",
    "IMAGENET1K_V2",
    "IMAGENET1K_SWAG_E2E_V1",
    "IMAGENET1K_SWAG_LINEAR_V1",
    "IMAGENET1K_FEATURES",
    "pretrained",
    "none",
)
"""torchvision's names; `pretrained` for the weights that belong to a name of timm; `none` for random ones."""
START_MODEL = "start_from"
"""The value of `weights` in a run that continues a model: its weights are the initial ones."""
LOGGER_NAMES = ("mlflow", "tensorboard")

FREEZE_NAMES = ("head", "last_stage", "none")
_STAGE = re.compile(r"stem|(layer|stage)[1-9]")


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


def freeze_name(value: object) -> object:
    """What stays frozen, in its usual spelling; other types are left to pydantic.

    Example:
        >>> freeze_name("Head"), freeze_name(None)
        ('head', 'none')
    """
    if value is None:
        return "none"
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    if name in FREEZE_NAMES or _STAGE.fullmatch(name):
        return name
    raise ValueError(
        f"freeze={value!r}: use {', '.join(FREEZE_NAMES)}, or the first stage to train, such as stage4, which is "
        "layer4 in ResNets"
    )


def checked_mlflow_uri(value: object) -> object:
    """A checked URI; other values are left to pydantic."""
    return user_uri(value, "mlflow_uri") if isinstance(value, str) else value


def checked_feature_store(value: object) -> object:
    """A folder, or `s3://BUCKET/PREFIX` without a slash at its end; other values are left to pydantic.

    Example:
        >>> checked_feature_store("s3://dogs/features/"), checked_feature_store("features")
        ('s3://dogs/features', 'features')
    """
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = whole_uri(value)
    _, separator, rest = text.partition("://")
    if not separator:
        return str(text_path(text, "feature_store"))
    bucket, _, prefix = rest.strip("/").partition("/")
    if not is_s3(text) or not is_bucket_name(bucket) or not storable(prefix) == prefix:
        raise ValueError(
            f"feature_store={text!r} is neither a folder nor a place in S3: write a path, or s3://BUCKET/PREFIX with "
            "a bucket name of 3 to 63 lowercase letters, digits, dots and hyphens"
        )
    return str(S3Location(bucket, prefix)).rstrip("/")


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

    Architecture = Takes[str, str]
    Freeze = Takes[str, str]
    Weights = Takes[StrPath | None, str]
    FeatureStorePlace = Takes[StrPath | None, str | None]
    LogTo = Takes[str | Sequence[str], str]
else:
    Architecture = Annotated[str, BeforeValidator(architecture_name)]
    Freeze = Annotated[str, BeforeValidator(freeze_name)]
    Weights = Annotated[str, BeforeValidator(weights_name)]
    FeatureStorePlace = Annotated[str | None, BeforeValidator(checked_feature_store), MaybeText]
    LogTo = Annotated[str, BeforeValidator(logger_names)]
