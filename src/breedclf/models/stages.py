"""The network cut in two: a frozen trunk, optimized for inference, and a tail of stages that is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from breedclf.config import Architecture, Freeze
from breedclf.models.head import ScaledLinear
from breedclf.models.network import StateDict, empty_network, for_inference, frozen_backbone
from breedclf.runtime.device import Compute

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
"""The network's stages, from the input to the output."""

_STEM = ("conv1", "bn1", "relu", "maxpool")
_FIRST_TRAINED = {"layer4": "layer4", "none": "stem"}
_PIXELS_PER_CELL = {"layer4": 16, "none": 1}


def trained_stages(freeze: Freeze) -> tuple[str, ...]:
    """The stages that are trained besides the head, from the input to the output.

    Example:
        >>> trained_stages("head"), trained_stages("layer4")
        ((), ('layer4',))
    """
    return () if freeze == "head" else STAGES[STAGES.index(_FIRST_TRAINED[freeze]) :]


def trunk(architecture: Architecture, state: StateDict, freeze: Freeze, compute: Compute) -> nn.Module:
    """The frozen stages: normalized images [N, 3, H, W] to the tail's input; batch norms are folded."""
    if freeze == "head":
        return frozen_backbone(architecture, state, compute)
    stages = STAGES[: STAGES.index(_FIRST_TRAINED[freeze])]
    if not stages:
        return nn.Identity()
    network = empty_network(architecture, 1)
    network.fc = nn.Identity()
    network.load_state_dict(state, assign=True)
    for_inference(network, compute)
    return nn.Sequential(*(getattr(network, child) for child in _children(stages)))


def tail_input_shape(state: StateDict, freeze: Freeze, crop_px: int) -> tuple[int, int, int]:
    """Channels, height and width of the trunk's output for one image of `crop_px` pixels a side."""
    cells = math.ceil(crop_px / _PIXELS_PER_CELL[freeze])
    channels = 3 if freeze == "none" else state[f"{_FIRST_TRAINED[freeze]}.0.conv1.weight"].shape[1]
    return channels, cells, cells


class Tail(nn.Module):
    """The trained stages and the head: the trunk's output [N, C, H, W] to scores [N, classes].

    With `bf16` the stages compute in bfloat16, while weights and head stay in float32. With `fixed_statistics` the
    batch norms keep the statistics of the pretrained weights, in training and in inference: an image's scores then
    don't depend on the rest of its batch, and a batch computed in parts or by several processes gives the same result.
    With `checkpointing` only the outputs of stages are kept for the backward pass, and the rest is recomputed.
    """

    def __init__(
        self,
        stages: dict[str, nn.Module],
        head: ScaledLinear,
        *,
        fixed_statistics: bool,
        bf16: bool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.fc = head
        self.fixed_statistics = fixed_statistics
        self.bf16 = bf16
        self.checkpointing = checkpointing
        self.to(memory_format=torch.channels_last)

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        state: StateDict,
        freeze: Freeze,
        head: ScaledLinear,
        *,
        fixed_statistics: bool,
        compute: Compute,
        checkpointing: bool = False,
    ) -> Self:
        """A tail with a copy of these weights."""
        network = empty_network(architecture, 1)
        network.fc = nn.Identity()
        children = _children(trained_stages(freeze))
        own = {name: tensor.clone() for name, tensor in state.items() if name.partition(".")[0] in children}
        network.load_state_dict(state | own, assign=True)
        stages = {child: getattr(network, child) for child in children}
        bf16 = compute.precision == "bf16"
        return cls(stages, head, fixed_statistics=fixed_statistics, bf16=bf16, checkpointing=checkpointing)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.features(inputs))
        return scores

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """The head's input: float32 [N, D]."""
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        outputs = inputs.to(dtype=dtype, memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            for name, stage in self.named_children():
                if name == "fc":
                    continue
                recomputed = self.checkpointing and not isinstance(stage, nn.ReLU)  # which overwrites its input
                if recomputed and torch.is_grad_enabled():
                    outputs = checkpoint(stage, outputs, use_reentrant=False, preserve_rng_state=False)
                else:
                    outputs = stage(outputs)
        return outputs.float().mean((2, 3))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.fixed_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def _children(stages: Sequence[str]) -> tuple[str, ...]:
    return tuple(child for stage in stages for child in (_STEM if stage == "stem" else (stage,)))
