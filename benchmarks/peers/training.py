"""Shared by the compared training programs: images, weights, trained layers, evaluation and timing."""

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

from benchmarks.networks import NETWORKS, head_name
from benchmarks.plain_loop import PlainLoop


@dataclass(frozen=True)
class Task:
    """A training task.

    Without `weights`, the network's are random. `trainable` is "head" or "all"; `precision` is "shipped" (default),
    "fp32" or "bf16".
    """

    data: Path
    scratch: Path
    weights: Path | None = None
    network_name: str = "resnet50"
    trainable: str = "head"
    precision: str = "shipped"
    epochs: int = 1
    batch: int = 32
    learning_rate: float = 0.005
    seed: int = 0

    @property
    def bf16(self) -> bool:
        return self.precision == "bf16"

    @property
    def loop(self) -> PlainLoop:
        """The plain loop, whose network, images and evaluation all programs share."""
        precision = None if self.precision == "shipped" else self.precision
        return PlainLoop(self.data, self.weights, precision, self.trainable, self.network_name)

    def network(self) -> torch.nn.Module:
        """The network with the given weights and a new head; only trained layers have gradients."""
        return self.loop.network(self.seed)

    def optimizer(self, network: torch.nn.Module) -> torch.optim.Optimizer:
        trainable = [each for each in network.parameters() if each.requires_grad]
        return torch.optim.SGD(trainable, self.learning_rate, momentum=0.9)

    def head_name(self) -> str:
        return head_name(self.network_name)

    def images(self, split: str) -> Any:
        return self.loop.images(split)

    def loader(self, split: str) -> Any:
        return self.loop.loader(split, self.batch)

    def judge(self, network: torch.nn.Module) -> dict[str, int]:
        """The number of correct test images, in fp32."""
        loader = self.loader("test")
        return {"right": self.loop.judge(network, loader, exact=True)[1], "of": len(loader.dataset)}


Judge = Callable[[], dict[str, int]]
Train = Callable[[], Judge]


def run(prepare: Callable[[Task], Train]) -> None:
    """Prepare, train with timing, then evaluate; print one JSON document.

    `prepare` loads the library, the network and the file lists, and returns the training function. That returns the
    function that counts correct images, or `dict` if they can't be counted.
    """
    parser = argparse.ArgumentParser()
    for name in ("data", "scratch"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--network-name", choices=NETWORKS, default="resnet50")
    parser.add_argument("--trainable", choices=("head", "all"), default="head")
    parser.add_argument("--precision", choices=("shipped", "fp32", "bf16"), default="shipped")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    task = Task(**vars(parser.parse_args()))
    answer = os.dup(1)
    os.dup2(2, 1)  # redirect the libraries' output to stderr
    train = prepare(task)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    judge = train()
    document: dict[str, Any] = {"seconds": time.perf_counter() - wall, "cpu_seconds": _cpu_seconds() - cpu}
    document |= {"process_cpu_seconds": _cpu_seconds(), "ended": time.time()}
    document |= judge()
    os.write(answer, json.dumps(document).encode() + b"\n")
    sys.stderr.flush()
    os._exit(0)  # some libraries' threads take seconds to end


def _cpu_seconds() -> float:
    return sum(os.times()[:4])
