"""The optimizer, with one parameter group and learning rate per trained stage."""

from __future__ import annotations

import inspect
import logging
from collections import defaultdict
from typing import Any, TypeVar

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.tail import Tail

log: logging.Logger = logging.getLogger(__name__)

BACKBONE_SHARE = 1 / 50
HIGH_BACKBONE_RATE = 1e-3
_METHODS_WITHOUT_STEP = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def stage_rates(config: TrainingConfig) -> dict[str, float]:
    """The learning rate of the head and of each trained stage, the head first.

    Example:
        >>> stage_rates(TrainingConfig(data="x", freeze="layer4", learning_rate=0.005))
        {'head': 0.005, 'layer4': 0.0001}
    """
    rates = {"head": config.learning_rate}
    backbone = config.backbone_learning_rate or config.learning_rate * BACKBONE_SHARE
    for depth, stage in enumerate(reversed(find_backbone(config.architecture).trained_stages(config.freeze))):
        rates[stage] = backbone * config.layer_decay**depth
    return rates


def rate_warning(config: TrainingConfig) -> str | None:
    """A warning about training more than the head at a learning rate that suits only the head; None if all is well.

    Raises:
        ConfigError: there is no such network, or it has no such stage.
    """
    rates = stage_rates(config)
    if config.freeze == "head":
        return None
    highest = max(rate for stage, rate in rates.items() if stage != "head")
    measured = (
        "with layer4 of a ResNet-50 trained too, the validation accuracy on 133 dog classes was 89.6% at 7.4e-05 and "
        "77.8% at 7.8e-03"
    )
    if highest > HIGH_BACKBONE_RATE:
        return (
            f"freeze={config.freeze} trains pretrained layers at a learning rate of {highest:g}, above "
            f"{HIGH_BACKBONE_RATE:g}, which tends to destroy their pretraining: {measured}; "
            f"set backbone_learning_rate to 1e-05 to {HIGH_BACKBONE_RATE:g}"
        )
    if config.backbone_learning_rate is None and config.learning_rate > HIGH_BACKBONE_RATE:
        return (
            f"learning_rate={config.learning_rate:g} is above {HIGH_BACKBONE_RATE:g}, too high for pretrained layers "
            f"({measured}); freeze={config.freeze} uses it only for the head and {highest:g} for them: "
            "set backbone_learning_rate to choose another"
        )
    return None


def new_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer of a head, or of a tail with one parameter group per stage; `initial_lr` is the group's rate."""
    parameters: dict[str, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        parameters[module.stage_of(name) if isinstance(module, Tail) else "head"].append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters[stage], "lr": rate, "initial_lr": rate}
        for stage, rate in stage_rates(config).items()
        if stage in parameters
    ]
    if config.optimizer == "adamw":
        return _AdamW(groups, weight_decay=config.weight_decay)
    return _SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)


def _without_compiler(kind: type[_Optimizer]) -> type[_Optimizer]:
    """The same optimizer without decorators that load torch's compiler only to exclude its methods from compilation."""
    eager = {name: inspect.unwrap(getattr(kind, name)) for name in _METHODS_WITHOUT_STEP}
    return type(kind.__name__, (kind,), {**eager, "step": torch.no_grad()(inspect.unwrap(kind.step))})


_SGD = _without_compiler(torch.optim.SGD)
_AdamW = _without_compiler(torch.optim.AdamW)
