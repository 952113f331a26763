"""The loop that tutorials write, in full: every epoch runs the whole network on every picture, train and valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torchvision import datasets, models, transforms

from benchmarks.measuring import DATA, WEIGHTS

WORKERS = 2


@dataclass
class PlainLoop:
    """A frozen ResNet-50 with a new last layer, trained by SGD on pictures that PIL decodes.

    With precision "fp32" the network is in train mode, as in the tutorials; with "bf16" it is in eval mode under
    autocast, which is as quick as a plain loop gets.
    """

    name: str
    precision: str

    def __post_init__(self) -> None:
        prepare = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        splits = ("train", "valid", "test")
        self.data = {split: datasets.ImageFolder(str(DATA / self.name / split), prepare) for split in splits}
        self.state = torch.load(WEIGHTS, weights_only=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def train(self, rate: float, batch: int, epochs: int) -> tuple[torch.nn.Module, float, int]:
        """The network after the last epoch, its mean loss on valid, and how many pictures there it names rightly."""
        torch.manual_seed(0)
        network = models.resnet50()
        network.load_state_dict(self.state)
        network.requires_grad_(False)
        network.fc = torch.nn.Linear(network.fc.in_features, len(self.data["train"].classes))
        network.to(self.device)
        optimizer = torch.optim.SGD(network.fc.parameters(), rate, momentum=0.9)
        train, valid = self.loader("train", batch), self.loader("valid", batch)
        for _ in range(epochs):
            network.train(self.precision == "fp32")
            for pictures, targets in train:
                with self._autocast():
                    outputs = network(pictures.to(self.device))
                loss = torch.nn.functional.cross_entropy(outputs.float(), targets.to(self.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            valid_loss, right = self.judge(network, valid)
        return network, valid_loss / len(self.data["valid"]), right

    @torch.inference_mode()
    def judge(self, network: torch.nn.Module, loader: Any) -> tuple[float, int]:
        """Summed loss, and how many pictures are named rightly."""
        network.eval()
        loss, right = 0.0, 0
        for pictures, targets in loader:
            with self._autocast():
                outputs = network(pictures.to(self.device)).float()
            loss += torch.nn.functional.cross_entropy(outputs, targets.to(self.device), reduction="sum").item()
            right += int((outputs.argmax(1).cpu() == targets).sum())
        return loss, right

    def loader(self, split: str, batch: int) -> Any:
        return torch.utils.data.DataLoader(self.data[split], batch, shuffle=split == "train", num_workers=WORKERS)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
