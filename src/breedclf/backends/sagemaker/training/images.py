"""Amazon's container images, as the SageMaker SDK knows them; it is imported when asked, which takes seconds."""

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
    """The newest PyTorch training image for this kind of machine.

    Raises:
        ConfigError: the SDK knows none for this region or machine.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    with sdk_register(f"the PyTorch image for {instance_type} in {region}") as uris:
        versions = uris.config_for_framework(_PYTORCH)["training"]["versions"]
        newest = max(versions, key=lambda version: tuple(int(part) for part in version.split(".")))
        return str(uris.retrieve(_PYTORCH, region, version=newest, instance_type=instance_type, image_scope="training"))


@cache
def debugger_image(region: str) -> str:
    """The image that evaluates SageMaker Debugger's built-in rules.

    Raises:
        ConfigError: the SDK knows none for this region.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    with sdk_register(f"the debugger's image in {region}") as uris:
        return str(uris.retrieve("debugger", region))


@contextmanager
def sdk_register(wanted: str, setting: str = "image") -> Iterator[Any]:
    """The SDK's register of images; its own warnings on import are nobody's concern here.

    Args:
        wanted: what is looked up, in words.
        setting: the setting that names an image oneself.

    Raises:
        ConfigError: within it, the SDK doesn't know what it is asked for.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from sagemaker.core import image_uris
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f'{wanted} is known to the SageMaker SDK, which is not installed: pip install "breedclf[sagemaker]", '
                f"or name an image yourself ({setting}=...)"
            ) from error
        try:
            yield image_uris
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f"{wanted} is not known to the SageMaker SDK ({error}); name one yourself: {setting}=..."
            ) from error
