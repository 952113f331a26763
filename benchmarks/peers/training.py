"""What the trainings of a comparison share: the same pictures, weights and trainable set, one judge, one stopwatch."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets, models, transforms

WORKERS = 2
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PREPARE = transforms.Compose(
    [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)


@dataclass(frozen=True)
class Task:
    """One training: `trainable` is "head" or "all", `precision` the library's own ("shipped"), "fp32" or "bf16"."""

    data: Path
    weights: Path
    scratch: Path
    trainable: str = "head"
    precision: str = "shipped"
    epochs: int = 1
    batch: int = 32
    learning_rate: float = 0.005

    @property
    def bf16(self) -> bool:
        return self.precision == "bf16"

    def network(self) -> torch.nn.Module:
        """ResNet-50 with the given weights and a new last layer; only what is to be trained has gradients."""
        torch.manual_seed(0)
        network = models.resnet50()
        network.load_state_dict(torch.load(self.weights, weights_only=True))
        network.requires_grad_(self.trainable == "all")
        network.fc = torch.nn.Linear(network.fc.in_features, len(self.pictures("train").classes))
        return network

    def optimizer(self, network: torch.nn.Module) -> torch.optim.Optimizer:
        trainable = [each for each in network.parameters() if each.requires_grad]
        return torch.optim.SGD(trainable, self.learning_rate, momentum=0.9)

    def pictures(self, split: str) -> datasets.ImageFolder:
        return datasets.ImageFolder(str(self.data / split), PREPARE)

    def loader(self, split: str) -> Any:
        return torch.utils.data.DataLoader(
            self.pictures(split), self.batch, shuffle=split == "train", num_workers=WORKERS
        )

    @torch.inference_mode()
    def judge(self, network: torch.nn.Module) -> dict[str, int]:
        """How many pictures of the split test are named rightly, in fp32."""
        network.eval()
        right = of = 0
        for pictures, targets in self.loader("test"):
            right += int((network(pictures).argmax(1) == targets).sum())
            of += len(targets)
        return {"right": right, "of": of}


Judge = Callable[[], dict[str, int]]
Train = Callable[[], Judge]


def run(prepare: Callable[[Task], Train]) -> None:
    """Prepare, train by the clock, then judge; print one JSON document.

    `prepare` loads the library, the network and the lists of files and returns the training, which returns what tells
    the pictures named rightly: `dict` where it can't be said.
    """
    parser = argparse.ArgumentParser()
    for name in ("data", "weights", "scratch"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--trainable", choices=("head", "all"), default="head")
    parser.add_argument("--precision", choices=("shipped", "fp32", "bf16"), default="shipped")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    task = Task(**vars(parser.parse_args()))
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print goes to stderr
    train = prepare(task)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    judge = train()
    document: dict[str, Any] = {"seconds": time.perf_counter() - wall, "cpu_seconds": _cpu_seconds() - cpu}
    document |= judge()
    os.write(answer, json.dumps(document).encode() + b"\n")
    sys.stderr.flush()
    os._exit(0)  # some libraries' threads take seconds to end


def _cpu_seconds() -> float:
    return sum(os.times()[:4])
