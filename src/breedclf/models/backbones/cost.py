"""What one forward pass of a network costs, counted without computing it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from breedclf.errors import BreedclfError
from breedclf.models.backbones.backbone import find_backbone


class NetworkCost(NamedTuple):
    """Multiply-adds for one image of the network's usual size, and the number of its parameters."""

    multiply_adds: int
    parameters: int


@lru_cache(maxsize=64)
def network_cost(architecture: str) -> NetworkCost | None:
    """The cost of a network with a head of 1,000 classes; None if it can't be counted.

    It is counted on a network without values, so it takes about a second and hardly any memory.

    Example:
        >>> network_cost("resnet18")
        NetworkCost(multiply_adds=1814073344, parameters=11689512)
    """
    try:
        backbone = find_backbone(architecture)
        network = backbone.empty_network(1000).to("meta").eval()
        image = torch.empty(1, 3, backbone.side_px, backbone.side_px, device="meta")
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(image)
    except (BreedclfError, NotImplementedError, RuntimeError):
        return None
    return NetworkCost(counter.get_total_flops() // 2, sum(each.numel() for each in network.parameters()))
