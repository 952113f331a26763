"""Amazon's container images, looked up in the SageMaker SDK, which is imported on use since that takes seconds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from breedclf.errors import ConfigError, MissingExtraError

_PYTORCH = "pytorch-amzn2023"


@cache
def training_image(region: str, instance_type: str) -> str:
    """The newest PyTorch training image for an instance type.

    Raises:
        ConfigError: the SDK has none for this region or instance type.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    with sdk_image_uris(f"the PyTorch image for {instance_type} in {region}") as uris:
        versions = uris.config_for_framework(_PYTORCH)["training"]["versions"]
        newest = max(versions, key=lambda version: tuple(int(part) for part in version.split(".")))
        return str(uris.retrieve(_PYTORCH, region, version=newest, instance_type=instance_type, image_scope="training"))


@cache
def debugger_image(region: str) -> str:
    """The image that evaluates SageMaker Debugger's built-in rules.

    Raises:
        ConfigError: the SDK has none for this region.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    with sdk_image_uris(f"the SageMaker Debugger image in {region}") as uris:
        return str(uris.retrieve("debugger", region))


@contextmanager
def sdk_image_uris(description: str, setting: str = "image") -> Iterator[Any]:
    """The SDK's `image_uris` module, imported without the SDK's warnings.

    Args:
        description: the image, for error messages.
        setting: the setting that overrides it.

    Raises:
        ConfigError: the SDK doesn't have the image.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from sagemaker.core import image_uris
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"{description} is looked up in the SageMaker SDK, which is not installed: pip install "
                f'"breedclf[sagemaker]", or set the image ({setting}=...)'
            ) from error
        try:
            yield image_uris
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f"{description} is not in the SageMaker SDK ({error}); set the image: {setting}=..."
            ) from error
