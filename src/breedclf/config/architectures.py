"""The names of networks: torchvision's classifiers, and `timm:NAME` for those of timm."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

TIMM = "timm:"
"""What the names of timm's networks start with."""

TORCHVISION_ARCHITECTURES: tuple[str, ...] = (
    "alexnet",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
    "maxvit_t",
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "regnet_x_32gf",
    "regnet_x_3_2gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "regnet_y_16gf",
    "regnet_y_1_6gf",
    "regnet_y_32gf",
    "regnet_y_3_2gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_8gf",
    "resnet101",
    "resnet152",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "swin_b",
    "swin_s",
    "swin_t",
    "swin_v2_b",
    "swin_v2_s",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
    "wide_resnet101_2",
    "wide_resnet50_2",
)
"""torchvision's classifiers that end with a linear layer on one vector of features per image."""

_CANNOT_TRAIN = {
    "googlenet": "has more than one head",
    "inception_v3": "has more than one head",
    "squeezenet1_0": "ends with a convolution, not with a linear layer on one vector of features",
    "squeezenet1_1": "ends with a convolution, not with a linear layer on one vector of features",
}
"""torchvision's other classifiers, and why they can't be fine-tuned."""

_NEAREST = 3
_TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
_TIMM_ON_THE_HUB = re.compile(r"(hf[-_]hub:)?timm/")


def architecture_name(value: object) -> object:
    """The name of a network in its usual spelling; a name that can't be one is refused. Other types are left alone.

    Example:
        >>> architecture_name("ResNet50"), architecture_name("timm:convnext_tiny.fb_in1k")
        ('resnet50', 'timm:convnext_tiny.fb_in1k')
    """
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    if name in TORCHVISION_ARCHITECTURES:
        return name
    if name.startswith(TIMM):
        if _TIMM_NAME.fullmatch(name.removeprefix(TIMM)):
            return name
        raise ValueError(
            f"architecture={value!r} isn't spelled like a network of timm: write letters, digits and _, as in "
            f"{TIMM}convnext_tiny, and a dot before the tag of weights, as in {TIMM}convnext_tiny.fb_in1k"
        )
    if name in _CANNOT_TRAIN:
        raise ValueError(
            f"architecture={value!r} can't be fine-tuned: torchvision's {name} {_CANNOT_TRAIN[name]}; choose another "
            "(`breedclf backbones list`)"
        )
    raise ValueError(
        f"architecture={value!r} is no classifier of torchvision: {nearest_names(name, TORCHVISION_ARCHITECTURES)}; "
        f"for a network of timm write {TIMM}{_as_timm(name)} (`breedclf backbones list` shows all)"
    )


def _as_timm(name: str) -> str:
    """How this name may be spelled in timm."""
    own = _TIMM_ON_THE_HUB.sub("", name).replace("-", "_")
    return own if _TIMM_NAME.fullmatch(own) else "NAME"


def nearest_names(name: str, valid: Sequence[str]) -> str:
    """A hint with the three valid names that are most similar."""
    near = difflib.get_close_matches(name, valid, n=_NEAREST, cutoff=0.0)
    return f"the nearest name is {near[0]}" if len(near) == 1 else f"the nearest names are {', '.join(near)}"
