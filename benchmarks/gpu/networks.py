"""Networks with random weights, and inputs that are on the device already."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.gpu.notes import Setup
from benchmarks.gpu.timing import mean_seconds
from breedclf.config import TrainingPrecision
from breedclf.data.preprocessing import Preprocessing
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.network import frozen_backbone
from breedclf.runtime.device import Compute, compute_for


def weights(setup: Setup) -> StateDict:
    """Random weights without the head."""
    drawn = find_backbone(setup.sizes.architecture).new_network(seed=0).state_dict()
    return {name: value for name, value in drawn.items() if not name.startswith("fc.")}


def backbone(
    setup: Setup, precision: TrainingPrecision = "auto", *, compiled: bool = False
) -> tuple[nn.Module, Compute]:
    """The frozen backbone as breedclf runs it on the device."""
    compute = compute_for(setup.device, precision, compiled=compiled)
    return frozen_backbone(setup.sizes.architecture, weights(setup), compute), compute


def inputs(setup: Setup, batch: int, dtype: torch.dtype) -> torch.Tensor:
    """Normalized images [batch, 3, crop, crop] on the device, as the extractor makes them."""
    crop = setup.sizes.crop_px
    pixels = torch.randint(0, 256, (batch, 3, crop, crop), dtype=torch.uint8, device=setup.torch_device)
    return Preprocessing().normalize(pixels, dtype)


def forward_rate(setup: Setup, network: nn.Module, batch: int, dtype: torch.dtype) -> float:
    """Images per second of forward passes alone."""
    images = inputs(setup, batch, dtype)
    with torch.inference_mode():
        return batch / mean_seconds(lambda: network(images), setup.torch_device, seconds=setup.sizes.seconds)
