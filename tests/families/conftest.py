"""A trained model of each family: random weights whose features tell images apart, on a few synthetic images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from breedclf import FitResult, Trainer, TrainingConfig
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.published import preprocessing_for
from breedclf.testing.images import PATTERNS, draw_image, write_image_set

Train = Callable[..., FitResult]
LEARNING = {"efficientnet_v2_s": 50.0}  # its features differ less between images


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with 3 images for training, and one each for validation and test."""
    return write_image_set(tmp_path_factory.mktemp("families") / "images", classes=2, train=3, valid=1, test=1)


@pytest.fixture(scope="session")
def weights_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a weights file of a network, once per session."""
    folder = tmp_path_factory.mktemp("weights")

    def weights(architecture: str) -> Path:
        path = folder / f"{architecture.replace(':', '-')}.safetensors"
        if not path.exists():
            network = telling(find_backbone(architecture).new_network(seed=0, classes=3), inputs_of(architecture))
            save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
        return path

    return weights


@pytest.fixture(scope="session")
def train(images: Path, weights_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains a network for a few steps; the result without other settings is shared by the tests of a session."""
    found: dict[str, FitResult] = {}

    def fit(architecture: str, **settings: Any) -> FitResult:
        known: dict[str, Any] = {
            "data": images,
            "architecture": architecture,
            "weights": str(weights_of(architecture)),
            "epochs": 2,
            "batch_size": 4,
            "chunk_size": 8,
            # Scores of about 1.
            "learning_rate": LEARNING.get(architecture, 0.5) / find_backbone(architecture).features,
            "device": "cpu",
            "workers": 0,
            "output": tmp_path_factory.mktemp("run"),
        }
        if settings:
            return Trainer(TrainingConfig(**known | settings)).fit()
        if architecture not in found:
            found[architecture] = Trainer(TrainingConfig(**known)).fit()
        return found[architecture]

    return fit


def inputs_of(architecture: str) -> torch.Tensor:
    """One synthetic image per pattern, normalized, float32 [N, 3, crop, crop]."""
    preprocessing = preprocessing_for(architecture, "none")
    drawn = [draw_image(pattern, np.random.default_rng(0)) for pattern in PATTERNS]
    return preprocessing.normalize(torch.stack([preprocessing.view(image, 0) for image in drawn]))


def telling(network: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """Change random weights so that features differ between images, as they do with trained weights.

    Layer scales start near zero, and with the statistics of new batch norms the activations of a deep network fade out
    or explode; those of `inputs` keep them in range.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() == max(parameter.shape, default=1):
                start = 1.0 if bool(parameter.any()) else 0.0  # scales are 1 or a small number, offsets are 0
                parameter.copy_(start + 0.2 * torch.randn(parameter.shape, generator=generator))
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.momentum = None
        if norms:
            network.train()(inputs)
    return network.eval()
