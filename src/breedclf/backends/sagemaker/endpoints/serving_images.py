"""The image that serves a model: Ray Serve's, Amazon's last one for PyTorch by its name, or one of the user's own."""

from __future__ import annotations

import logging
from functools import cache

from breedclf.backends.sagemaker.training.images import sdk_register

log: logging.Logger = logging.getLogger(__name__)

TOOLKIT_NAME = "pytorch-inference"
_TOOLKIT_VERSION, _TOOLKIT_PYTHON = "2.6", "py312"
_UNPATCHED_SINCE = "2026-06-30"


def serving_image(region: str, instance_type: str, wanted: str | None) -> str:
    """The address of the serving image for a kind of machine.

    Args:
        region: where it is pulled.
        instance_type: machines with a GPU get another image.
        wanted: None for Ray Serve's newest image, "pytorch-inference" for Amazon's last one of PyTorch, or an address.

    Raises:
        ConfigError: the SDK knows none for this region or machine.
        MissingExtraError: the SageMaker SDK isn't installed.
    """
    if wanted is None:
        return _ray_image(region, instance_type)
    image = _toolkit_image(region, instance_type) if wanted == TOOLKIT_NAME else wanted
    if "/pytorch-inference:" in image:
        log.warning(
            "%s: Amazon has patched no PyTorch inference image since %s; serve with the Ray Serve image, which is the "
            "default, or build one with `breedclf deploy MODEL --image-context DIR`",
            image,
            _UNPATCHED_SINCE,
        )
    return image


@cache
def _ray_image(region: str, instance_type: str) -> str:
    with sdk_register(f"the Ray Serve image for {instance_type} in {region}", "serving_image") as uris:
        return str(uris.retrieve("ray-serve", region, instance_type=instance_type, image_scope="inference"))


@cache
def _toolkit_image(region: str, instance_type: str) -> str:
    with sdk_register(f"the PyTorch inference image for {instance_type} in {region}", "serving_image") as uris:
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
