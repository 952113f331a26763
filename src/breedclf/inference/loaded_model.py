"""A model on a device: its network, its card and its feature bank, from cropped images to probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn

from breedclf.config import Device, Precision
from breedclf.data.preprocessing import Preprocessing
from breedclf.inference.feature_bank import FeatureBank
from breedclf.inference.model_directory import ModelCard, read_artifact, read_bank
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.network import for_inference
from breedclf.runtime.device import Compute, compute_for
from breedclf.runtime.forking import check_usable


class LoadedModel:
    """The model of a directory, fused for inference.

    Args:
        artifact: the model directory.
        device: where to compute.
        precision: that of the network.
        tta: whether to average the probabilities of each image and its mirror image.

    Raises:
        ArtifactError: the directory is missing, damaged, not written by breedclf, or newer than this version.
        ConfigError: this machine doesn't have the requested device.
    """

    def __init__(self, artifact: Path, device: Device, precision: Precision, *, tta: bool) -> None:
        self.artifact: Path = artifact
        self.card: ModelCard
        self.card, state = read_artifact(artifact)
        self.tta: bool = tta
        compute = compute_for(device, precision)
        self.compute: Compute = compute
        backbone = find_backbone(self.card.architecture)
        network = backbone.network_from(state).requires_grad_(False)
        head = network.get_submodule(backbone.head).to(device=compute.device, dtype=compute.dtype)
        network.set_submodule(backbone.head, nn.Identity())
        self._network: nn.Sequential = nn.Sequential(for_inference(network, compute), head)
        bank = read_bank(artifact, self.card, backbone.features)
        self._bank: FeatureBank | None = None if bank is None else bank.to(compute.device)

    @property
    def parts(self) -> tuple[nn.Module, nn.Linear]:
        """The network for inference in two parts, in the classifier's precision: from `normalized` to features, and
        from these to scores."""
        return self._network[0], self._head

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input: sizes, cropping, `mean` and `std`."""
        return self.card.preprocessing

    @property
    def precision(self) -> str:
        """The precision of the network: fp32 or bf16."""
        return self.compute.precision

    def _outputs(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The probabilities float32 [N, C] on the CPU, and the features float32 [N, D] on the device, of crops."""
        features = self._forward(self._network[0], inputs)
        return self._averaged(features, inputs), features

    def _averaged(self, features: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """The probabilities float32 [N, C] on the CPU; with `tta` their mean with those of the mirror images."""
        probabilities = self._probabilities(features)
        if self.tta:
            mirrored = self._probabilities(self._forward(self._network[0], inputs.flip(3)))
            probabilities = torch.stack([probabilities, mirrored]).mean(0)
        return probabilities.cpu()

    @torch.inference_mode()
    def _probabilities(self, features: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self._head(features.to(self.compute.dtype))
        return torch.softmax(scores.float(), dim=1)

    @property
    def _head(self) -> nn.Linear:
        return cast(nn.Linear, self._network[1])

    @torch.inference_mode()
    def _forward(self, network: nn.Module, crops: torch.Tensor) -> torch.Tensor:
        """The output of the network or a part of it, float32 on the device."""
        output: torch.Tensor = network(self.normalized(crops))
        return output.float()

    def normalized(self, inputs: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The network's input for images that are already cropped, uint8 [N, 3, crop, crop], on the device."""
        check_usable(self.compute.device.type)
        return self.preprocessing.normalize(inputs.to(self.compute.device), dtype or self.compute.dtype)
