"""A training loop as in tutorials: every epoch runs the whole network on all train and valid images."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from benchmarks.networks import new_network, preparation

WORKERS = 2


@dataclass(frozen=True)
class PlainLoop:
    """A network with a new head, trained with SGD on images decoded by PIL.

    As in tutorials it computes in fp32, with all of the network in train mode. With `precision`, fp32 or bf16, it is as
    quick as a plain loop gets: what is frozen stays in eval mode, and bf16 is had by autocast.
    """

    data: Path
    weights: Path | None
    precision: str | None = None
    trainable: str = "head"
    architecture: str = "resnet50"

    def train(
        self, rate: float, batch: int, epochs: int, *, seed: int = 0, network: torch.nn.Module | None = None
    ) -> tuple[torch.nn.Module, float, int]:
        """Train, and return the network, its mean validation loss, and the number of correct validation images."""
        network = self.network(seed).to(_device()) if network is None else network
        trained = [each for each in network.parameters() if each.requires_grad]
        optimizer = torch.optim.SGD(trained, rate, momentum=0.9)
        train, valid = self.loader("train", batch), self.loader("valid", batch)
        for _ in range(epochs):
            network.train(self.trainable == "all" or self.precision is None)
            for images, targets in train:
                with self._autocast():
                    outputs = network(images.to(_device()))
                loss = torch.nn.functional.cross_entropy(outputs.float(), targets.to(_device()))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            valid_loss, right = self.judge(network, valid)
        return network, valid_loss / len(valid.dataset), right

    def network(self, seed: int = 0) -> torch.nn.Module:
        """The network with the given weights and a new head; only trained layers have gradients."""
        classes = len(self.images("train").classes)
        return new_network(self.architecture, self.weights, classes, trainable=self.trainable, seed=seed)

    @torch.inference_mode()
    def judge(self, network: torch.nn.Module, loader: Any, *, exact: bool = False) -> tuple[float, int]:
        """Summed loss and number of correct images; with `exact`, in fp32 regardless of the training precision."""
        network.eval()
        loss, right = 0.0, 0
        for images, targets in loader:
            with contextlib.nullcontext() if exact else self._autocast():
                outputs = network(images.to(_device())).float()
            loss += torch.nn.functional.cross_entropy(outputs, targets.to(_device()), reduction="sum").item()
            right += int((outputs.argmax(1).cpu() == targets).sum())
        return loss, right

    def images(self, split: str) -> datasets.ImageFolder:
        return datasets.ImageFolder(str(self.data / split), preparation(self.architecture))

    def loader(self, split: str, batch: int) -> Any:
        return torch.utils.data.DataLoader(self.images(split), batch, shuffle=split == "train", num_workers=WORKERS)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(_device().type, torch.bfloat16, enabled=self.precision == "bf16")


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
