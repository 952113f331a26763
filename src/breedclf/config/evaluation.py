"""The settings of evaluations and predictions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from breedclf.config.base import MaybeOutputPath, MaybeText, MaybeUserPath, Settings
from breedclf.config.choices import Device, FeatureStorePlace, OnBadImage, Precision


class FeatureReuse(Settings):
    """Where the features of images that pass through a trained model are found and stored."""

    feature_cache: bool = Field(
        default=True, description="reuse stored features of images, and store those that are computed"
    )
    feature_store: FeatureStorePlace = Field(
        default=None,
        validate_default=True,
        description="where features are stored: a folder, or s3://BUCKET/PREFIX (default: below the cache folder)",
    )
    verify_files: bool = Field(
        default=False,
        description="read all image files again; by default those with the same path, size, times and inode aren't",
    )
    cache_dir: MaybeOutputPath = Field(
        default=None, validate_default=True, description="folder of the caches (default: the platform's)"
    )


class PredictionConfig(FeatureReuse):
    """How the probabilities of images are computed."""

    tta: bool = Field(
        default=False,
        description="test-time augmentation: average over each image and its mirror image, in two passes",
    )
    coverage: Annotated[float | None, MaybeText] = Field(
        default=None,
        description="prediction sets: for each image, the classes that contain the right one in this share of images",
    )

    @field_validator("coverage")
    @classmethod
    def _coverage_is_a_share(cls, value: float | None) -> float | None:
        if value is None or 0 < value < 1:
            return value
        meant = f"; did you mean {value / 100:g}?" if 1 < value < 100 else ""
        raise ValueError(f"coverage={value:g}: choose a share between 0 and 1, such as 0.9{meant}")


class EvaluationConfig(PredictionConfig):
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
    unlike: MaybeUserPath = Field(
        default=None,
        validate_default=True,
        description="folder or table of images that are none of the classes: measures how many are answered as known",
    )
    output: MaybeUserPath = Field(
        default=None,
        validate_default=True,
        description="folder for metrics.json and report.html (default: evaluation-SPLIT beside the model)",
    )
    explain: bool = Field(
        default=True,
        description="show in the report what speaks for the wrong answers; 36 more images pass through the network",
    )
    on_bad_image: OnBadImage = Field(default="error", description="stop at an unreadable image, or skip and count it")
    device: Device = Field(default="auto", description="compute device")
    precision: Precision = Field(default="auto", description="auto uses bf16 where the hardware is faster in it")
    batch_size: Annotated[int | None, MaybeText] = Field(
        default=None, ge=1, le=4_096, description="images per forward pass (default: the chunk_size of the training)"
    )
    workers: Annotated[int | None, MaybeText] = Field(
        default=None, ge=0, le=256, description="DataLoader workers (default: chosen for this machine)"
    )
