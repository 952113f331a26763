"""timm's classifiers, by the extra `breedclf[timm]`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from breedclf.config.architectures import TIMM, nearest_names
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError
from breedclf.runtime.compiler import compiler_deferred
from breedclf.runtime.extras import require_extra

if TYPE_CHECKING:
    from timm.models import PretrainedCfg


def timm_network(name: str) -> tuple[partial[nn.Module], str, int]:
    """What builds a network, the path of its head (empty if it has none), and the side of its images in pixels.

    Raises:
        ConfigError: this version of timm has no network of that name, or its images have a shape that isn't square.
        MissingExtraError: timm isn't installed.
    """
    settings = timm_settings(name)
    _channels, height, width = settings.input_size
    if height != width:
        raise ConfigError(
            f"architecture={TIMM}{name} takes images of {height} x {width} px, but only square ones are supported"
        )
    head = settings.classifier
    if isinstance(head, (tuple, list)):
        raise ConfigError(
            f"architecture={TIMM}{name} has {len(head)} heads ({', '.join(head)}), but only networks with one can be "
            "fine-tuned: choose another (`breedclf backbones list`)"
        )
    return partial(_network, name), head or "", height


def timm_settings(name: str) -> PretrainedCfg:
    """timm's own record of a network and its weights.

    Raises:
        ConfigError: this version of timm has no network of that name, or no weights of its tag.
        MissingExtraError: timm isn't installed.
    """
    require_extra("timm", purpose=f"architecture={TIMM}{name}", install="'breedclf[timm]'")
    with compiler_deferred():
        import timm

    network, _, tag = name.partition(".")
    version = f"timm {timm.__version__}, which is installed here,"
    if network not in (known := timm.list_models()):
        raise ConfigError(f"architecture={TIMM}{name}: {version} has no such network; {nearest_names(network, known)}")
    tags = timm.list_pretrained(f"{network}.*")
    if tag and name not in tags:
        hint = nearest_names(name, tags) if tags else "it has no published weights"
        raise ConfigError(f"architecture={TIMM}{name}: {version} has no weights {tag!r} of {network}; {hint}")
    settings = timm.get_pretrained_cfg(name)
    if settings is None:
        raise ConfigError(f"architecture={TIMM}{name}: {version} doesn't describe its images and head")
    return settings


def timm_preprocessing(name: str) -> Preprocessing:
    """How images become inputs of this network's weights, by timm's own record of them."""
    known = timm_settings(name).to_dict()  # type: ignore[no-untyped-call]
    from timm.data.config import resolve_data_config

    settings: dict[str, Any] = resolve_data_config(pretrained_cfg=known)  # type: ignore[no-untyped-call]
    side = settings["input_size"][1]
    return Preprocessing(
        resize_px=int(side / settings["crop_pct"]),
        crop_px=side,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=settings["interpolation"],
        color="srgb",
    )


def _network(name: str, classes: int) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return network
