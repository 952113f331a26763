"""The exported network: uint8 images in, probabilities out, including normalization; maybe distances, too."""

from __future__ import annotations

import torch
from torch import nn

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ExportError
from breedclf.inference.bank_module import BankModule
from breedclf.inference.feature_bank import FeatureBank
from breedclf.inference.model_directory import ModelCard

_MAX_REASON = 200


class ExportedNetwork(nn.Module):
    """uint8 [N, 3, crop, crop] to float32 probabilities [N, C].

    Normalization is included, so that users of the file can't forget or repeat it. `network` must only use standard
    operations and the standard memory layout, which other runtimes support.
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.eval()
        self.register_buffer("shift", 255.0 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 255.0 * torch.tensor(preprocessing.std).view(1, 3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.softmax(self.network(self.normalized(pictures)), dim=1)

    def normalized(self, pictures: torch.Tensor) -> torch.Tensor:
        """Normalized images, float32."""
        return (pictures.to(torch.float32) - self.shift) / self.scale


class NetworkWithBank(ExportedNetwork):
    """The same, followed by the distances float32 [N] to a feature bank, and by whether the images are known, bool [N].

    Args:
        network: from images to scores; its head is moved out of it.
        head: the path of its head, whose inputs are the features.
        bank: of the model.
        card: of the model, with the limits for known images.
    """

    def __init__(self, network: nn.Module, head: str, bank: FeatureBank, card: ModelCard) -> None:
        super().__init__(network, card.preprocessing)
        self.head: nn.Module = network.get_submodule(head)
        self.network.set_submodule(head, nn.Identity())
        self.distances: BankModule = BankModule(bank)
        self._threshold = 2.0 if card.feature_bank is None else card.feature_bank.threshold
        self._min_confidence = card.min_confidence

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.network(self.normalized(pictures))
        probabilities = torch.softmax(self.head(features), dim=1)
        distance = self.distances(features)
        known = distance <= self._threshold
        if self._min_confidence is not None:
            known = known & (probabilities.amax(dim=1) >= self._min_confidence)
        return probabilities, distance, known


def traced(network: ExportedNetwork, crop_px: int, name: str) -> torch.export.ExportedProgram:
    """Trace the network `name` as a graph for any number of images.

    Raises:
        ExportError: torch.export can't; the message has its reason.
    """
    example = torch.zeros(2, 3, crop_px, crop_px, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    try:
        with torch.no_grad():
            return torch.export.export(network, (example,), dynamic_shapes={"pictures": {0: batch}}, strict=False)
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        raise ExportError(
            f"{name} can't be exported: torch.export can't trace it for any number of images ({reason_of(error)})"
        ) from error


def reason_of(error: Exception) -> str:
    """The first line of what an exporter says, or the name of its error."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:_MAX_REASON]
