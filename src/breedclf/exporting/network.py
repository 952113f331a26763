"""The exported network: uint8 images in, probabilities out, including normalization."""

from __future__ import annotations

import torch
from torch import nn

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ExportError

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

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        scores = self.network((pictures.to(torch.float32) - self.shift) / self.scale)
        return torch.softmax(scores, dim=1)


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
