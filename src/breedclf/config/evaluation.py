"""The settings of an evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from breedclf.config.base import MaybeText, MaybeUserPath, Settings
from breedclf.config.choices import Device, OnBadImage, Precision


class EvaluationConfig(Settings):
    """How a model is evaluated on images; field names are the flags of `breedclf evaluate`.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.
    """

    split: Literal["train", "valid", "val", "validation", "test", "all"] = Field(
        default="test", description="images to evaluate on; all uses every split"
    )
    labels: MaybeUserPath = Field(
        default=None,
        validate_default=True,
        description="table of the labels, if the images are in a folder without class folders",
    )
    output: MaybeUserPath = Field(
        default=None,
        validate_default=True,
        description="folder for metrics.json and report.html (default: evaluation-SPLIT beside the model)",
    )
    on_bad_image: OnBadImage = Field(default="error", description="stop at an unreadable image, or skip and count it")
    device: Device = Field(default="auto", description="compute device")
    precision: Precision = Field(default="auto", description="auto uses bf16 where the hardware supports it")
    batch_size: int = Field(default=32, ge=1, le=4_096, description="images per forward pass")
    workers: Annotated[int | None, MaybeText] = Field(
        default=None, ge=0, le=256, description="DataLoader workers (default: chosen for this machine)"
    )
