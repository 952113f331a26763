"""The backbones that there are, with what is published about their weights; nothing is downloaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from breedclf.config.architectures import TIMM, TORCHVISION_ARCHITECTURES
from breedclf.errors import BreedclfError, ConfigError
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.backbones.cost import network_cost
from breedclf.models.backbones.published_weights import published_weights, torchvision_weights, usable_weights
from breedclf.runtime.compiler import compiler_deferred
from breedclf.runtime.extras import require_extra
from breedclf.runtime.progress import progress_bar

_MIB_IN_MB = 2**20 / 1e6


@dataclass(frozen=True)
class ListedBackbone:
    """A backbone with one of its published weights.

    Args:
        name: the architecture.
        weights: their name, as in the settings.
        parameters: of the whole network, with its 1,000 classes.
        gflops: billions of multiplications with additions per image, as torchvision publishes them, or counted for
            timm; None if they can't be counted.
        top1: published accuracy on ImageNet-1k's validation images, 0 to 1; None if unknown.
        top1_source: who published it.
        size_mb: of the weights.
        license: that of the weights.
        license_binds: whether it restricts their use, so that it must be accepted.
        image_px: height and width of the images that the weights expect.
    """

    name: str
    weights: str
    parameters: int
    gflops: float | None
    top1: float | None
    top1_source: str
    size_mb: float
    license: str
    license_binds: bool
    image_px: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def torchvision_backbones() -> list[ListedBackbone]:
    """torchvision's classifiers with each of their weights, the most accurate first."""
    found = [_of_torchvision(name, weights) for name in TORCHVISION_ARCHITECTURES for weights in usable_weights(name)]
    return _sorted(found)


def timm_backbones(pattern: str) -> list[ListedBackbone]:
    """timm's classifiers with published weights whose names match a pattern such as `convnext*`, as torchvision's.

    Raises:
        MissingExtraError: timm isn't installed.
        ConfigError: no name matches.
    """
    require_extra("timm", purpose=f"--timm {pattern}", install="'breedclf[timm]'")
    with compiler_deferred():
        import timm

    names = timm.list_models(pattern.removeprefix(TIMM), pretrained=True)
    if not names:
        raise ConfigError(
            f"--timm {pattern}: timm {timm.__version__} has no such network with published weights; a pattern has "
            "wildcards, as in --timm 'convnext*'"
        )
    with progress_bar("networks", total=len(names), unit="network") as bar:
        found = []
        for name in names:
            if (listed := _of_timm(TIMM + name)) is not None:
                found.append(listed)
            bar.update()
    return _sorted(found)


def _sorted(found: list[ListedBackbone]) -> list[ListedBackbone]:
    return sorted(found, key=lambda each: (-(each.top1 or 0.0), each.parameters, each.name, each.weights))


def _of_torchvision(name: str, weights: str) -> ListedBackbone:
    entry = torchvision_weights(name, weights)
    published = published_weights(name, weights)
    assert published is not None
    return ListedBackbone(
        name=name,
        weights=weights,
        parameters=entry.meta["num_params"],
        gflops=entry.meta["_ops"],
        top1=published.top1,
        top1_source=published.top1_source,
        size_mb=round(entry.meta["_file_size"] * _MIB_IN_MB, 1),
        license=published.license,
        license_binds=published.license_binds,
        image_px=entry.transforms().crop_size[0],
    )


def _of_timm(name: str) -> ListedBackbone | None:
    """None for a network that can't be fine-tuned here."""
    try:
        backbone = find_backbone(name)
        published = published_weights(name, "pretrained")
    except BreedclfError:
        return None
    assert published is not None
    cost = network_cost(name)
    parameters = cost.parameters if cost else sum(each.numel() for each in backbone.empty_network(1000).parameters())
    return ListedBackbone(
        name=name,
        weights="pretrained",
        parameters=parameters,
        gflops=None if cost is None else round(cost.multiply_adds / 1e9, 3),
        top1=published.top1,
        top1_source=published.top1_source,
        size_mb=round(parameters * 4 / 1e6, 1),
        license=published.license,
        license_binds=published.license_binds,
        image_px=backbone.side_px,
    )
