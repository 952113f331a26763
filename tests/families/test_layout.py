"""Networks whose buffers have five dimensions, such as timm's Swin, are moved to channels_last too."""

from __future__ import annotations

import torch
from torch import nn

from breedclf.models.network import in_layout


def test_only_weights_of_four_dimensions_are_moved() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network.register_buffer("mask", torch.zeros(1, 2, 1, 4, 4))
    weight = network[0].weight.detach().clone()
    in_layout(network, torch.channels_last)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(network[0].weight, weight)
    assert network.get_buffer("mask").shape == (1, 2, 1, 4, 4)
