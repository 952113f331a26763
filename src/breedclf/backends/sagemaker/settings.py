"""Settings of the SageMaker backend: where and how jobs and endpoints run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from breedclf.config import Settings, read_settings
from breedclf.config.base import MaybeUserPath

SETTINGS_PREFIX = "BREEDCLF_SAGEMAKER_"
SETTINGS_FILE_VARIABLE = "BREEDCLF_SAGEMAKER_CONFIG"


def _words(value: object) -> object:
    """Split comma-separated text, as in an environment variable."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """Parse `a=1,b=2`, as in an environment variable."""
    if not isinstance(value, str):
        return value
    return dict(word.strip().partition("=")[::2] for word in value.split(",") if word.strip())


if TYPE_CHECKING:
    from breedclf.config.base import Takes

    Words = Takes[str | Sequence[str], tuple[str, ...]]
    Pairs = Takes[str | Mapping[str, str], dict[str, str]]
else:
    Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
    Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]


def session_region(variables: Mapping[str, str] | None = None) -> str | None:
    """The region in the environment, as boto3 reads it."""
    variables = os.environ if variables is None else variables
    return variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")


class SageMakerSettings(Settings):
    """Where and how SageMaker runs jobs and endpoints.

    Each field is a keyword argument of `SageMakerBackend`, a key of a settings file and an environment variable
    (`BREEDCLF_SAGEMAKER_ROLE`).

    Raises:
        ConfigError: a key is unknown, a value is out of range, or settings conflict.

    Example:
        >>> SageMakerSettings(role="arn:aws:iam::111122223333:role/breedclf").instance_type
        'ml.m5.xlarge'
    """

    role: str | None = Field(default=None, description="ARN of the IAM role that jobs and endpoints run as")
    bucket: str | None = Field(default=None, description="S3 bucket for code, data and models (default: SageMaker's)")
    prefix: str = Field(
        default="breedclf",
        pattern=r"^[A-Za-z0-9._\-/]*[A-Za-z0-9._\-]$",
        description="prefix of all keys",
    )
    region: str | None = Field(default=None, description="AWS region (default: that of the session)")
    instance_type: str = Field(
        default="ml.m5.xlarge", pattern=r"^ml\.[a-z0-9\-]+\.[a-z0-9\-]+$", description="instance type of training jobs"
    )
    instance_count: int = Field(default=1, ge=1, le=100, description="number of machines of a training job")
    volume_gb: int = Field(default=30, ge=1, le=16_384, description="disk size of training jobs, in GB")
    volume_kms_key: str | None = Field(default=None, description="KMS key that encrypts this disk")
    output_kms_key: str | None = Field(default=None, description="KMS key that encrypts objects in S3")
    subnets: Words = Field(default=(), validate_default=True, description="subnets of the VPC to run in")
    security_groups: Words = Field(default=(), validate_default=True, description="security groups in the VPC")
    network_isolation: bool = Field(default=False, description="run containers without network access; needs wheels")
    wheels: MaybeUserPath = Field(
        default=None, validate_default=True, description="folder of wheels that are uploaded with the code"
    )
    input_mode: Literal["File", "FastFile"] = Field(
        default="File", description="File copies the images before training starts, FastFile streams them on demand"
    )
    max_wait_seconds: int | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        description="spot jobs: maximum time with waiting (default: twice the run time)",
    )
    image: str | None = Field(default=None, description="training image (default: the newest PyTorch image)")
    serving_image: str | None = Field(default=None, description="serving image (default: the Ray Serve image)")
    endpoint_instance_type: str = Field(
        default="ml.m5.xlarge", pattern=r"^ml\.[a-z0-9\-]+\.[a-z0-9\-]+$", description="instance type of endpoints"
    )
    endpoint_instance_count: int = Field(default=1, ge=1, le=100, description="number of machines of an endpoint")
    serverless_memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] | None = Field(
        default=None, description="memory of a serverless endpoint, in MB; needs serving_image"
    )
    serverless_max_concurrency: int = Field(
        default=5, ge=1, le=200, description="concurrent requests of a serverless endpoint"
    )
    endpoint_end_role: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z\-]*:iam::\d{12}:role/.+$",
        description="ARN of the role with which EventBridge Scheduler deletes expired endpoints",
    )
    tags: Pairs = Field(default_factory=dict, validate_default=True, description="tags of all new resources")
    max_cost: float | None = Field(default=None, gt=0, description="refuse what may cost more, in US dollars")
    rates: MaybeUserPath = Field(
        default=None, validate_default=True, description="file with prices that override the shipped ones"
    )
    debugger: bool = Field(
        default=False, description="also use SageMaker Debugger's rules, if the account still has them"
    )
    poll_seconds: float = Field(
        default=15.0, ge=0.01, le=3_600, description="minimum seconds between two status requests"
    )
    delay_seconds: float = Field(
        default=10.0, ge=0, le=600, description="seconds after a job's end during which log lines may still arrive"
    )
    endpoint_url: str | None = Field(
        default=None, description="URL of an emulator, such as `breedclf sagemaker emulate` prints"
    )

    @field_validator("prefix")
    @classmethod
    def _is_a_plain_key(cls, prefix: str) -> str:
        if odd := [part for part in prefix.split("/") if part in ("", ".", "..")]:
            raise ValueError(f"prefix={prefix!r} has the part {odd[0]!r}, which S3 takes literally: remove it")
        return prefix

    @model_validator(mode="after")
    def _tags_are_the_users_own(self) -> Self:
        for key in self.tags:
            if key == "breedclf" or key.startswith("breedclf-"):
                raise ValueError(f"tag {key!r}: breedclf finds its resources by such tags; choose another key")
        return self

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            have, lack = ("subnets", "security_groups") if self.subnets else ("security_groups", "subnets")
            raise ValueError(f"{have} without {lack}: a VPC needs both")
        if self.network_isolation and self.wheels is None:
            raise ValueError(
                "network_isolation=True without wheels: an isolated container can't download packages; fill a folder "
                "with `pip download -d wheels -r requirements.txt` for the image's Python version and set it as wheels"
            )
        if self.serverless_memory_mb and self.serving_image is None:
            raise ValueError(
                "serverless_memory_mb without serving_image: the Ray Serve image is too large; build an image "
                "with `breedclf deploy MODEL --image-context DIR` and set it as serving_image"
            )
        if self.serverless_memory_mb and self.subnets:
            raise ValueError("serverless_memory_mb with subnets: serverless endpoints can't run in a VPC")
        return self

    @classmethod
    def chosen(cls, settings: Self | None, **overrides: Any) -> Self:
        """These settings with the keywords that aren't None; without any, those of `given`.

        Raises:
            ConfigError: the file can't be read, or a setting is invalid.
        """
        if settings is None:
            return cls.given(**overrides)
        return settings.replace(**{name: value for name, value in overrides.items() if value is not None})

    @classmethod
    def given(cls, variables: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Settings from the file in `BREEDCLF_SAGEMAKER_CONFIG`, the environment and keywords, in rising priority.

        Raises:
            ConfigError: the file can't be read, or a setting is invalid.
        """
        variables = os.environ if variables is None else variables
        file = variables.get(SETTINGS_FILE_VARIABLE)
        found: dict[str, Any] = read_settings(file) if file else {}
        for name in cls.model_fields:
            if value := variables.get(SETTINGS_PREFIX + name.upper()):  # an empty variable counts as unset
                found[name] = value
        return cls(**{**found, **{name: value for name, value in overrides.items() if value is not None}})
