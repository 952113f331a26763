"""The serving image: Ray Serve (default), Amazon's last PyTorch inference image, or a custom one."""

from __future__ import annotations

import logging
from functools import cache

from breedclf.backends.sagemaker.training.images import sdk_image_uris

log: logging.Logger = logging.getLogger(__name__)

TOOLKIT_NAME = "pytorch-inference"
_TOOLKIT_VERSION, _TOOLKIT_PYTHON = "2.6", "py312"
_UNPATCHED_SINCE = "2026-06-30"


def serving_image(region: str, instance_type: str, choice: str | None) -> str:
    """The URI of the serving image for an instance type.

    Args:
        region: the region of the image.
        instance_type: machines with a GPU use another image.
        choice: None for Ray Serve's newest image, "pytorch-inference" for Amazon's last PyTorch image, or a URI.

    Raises:
        ConfigError: the SDK has none for this region or instance type.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    if choice is None:
        return _ray_image(region, instance_type)
    image = _toolkit_image(region, instance_type) if choice == TOOLKIT_NAME else choice
    if "/pytorch-inference:" in image:
        log.warning(
            "%s: Amazon has not patched the PyTorch inference images since %s; use the Ray Serve image, which is the "
            "default, or build one with `breedclf deploy MODEL --image-context DIR`",
            image,
            _UNPATCHED_SINCE,
        )
    return image


@cache
def _ray_image(region: str, instance_type: str) -> str:
    with sdk_image_uris(f"the Ray Serve image for {instance_type} in {region}", "serving_image") as uris:
        return str(uris.retrieve("ray-serve", region, instance_type=instance_type, image_scope="inference"))


@cache
def _toolkit_image(region: str, instance_type: str) -> str:
    with sdk_image_uris(f"the PyTorch inference image for {instance_type} in {region}", "serving_image") as uris:
        return str(
            uris.retrieve(
                "pytorch",
                region,
                version=_TOOLKIT_VERSION,
                py_version=_TOOLKIT_PYTHON,
                instance_type=instance_type,
                image_scope="inference",
            )
        )
