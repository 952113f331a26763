"""A training run that records how many images pass through its backbone: DATA OUTPUT CACHE WEIGHTS COUNTER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from breedclf import Trainer, TrainingConfig
from breedclf.runtime.timers import StepTimer


class PassCounter(StepTimer):
    """Appends the number of images of each forward pass of the frozen backbone to a file, as soon as it is over."""

    def __init__(self, counter: Path) -> None:
        self._file = counter.open("ab", buffering=0)

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        if optimizer is None:
            module.register_forward_hook(self._passed)

    def _passed(self, _module: nn.Module, inputs: tuple[Any, ...], _output: object) -> None:
        self._file.write(b"%d\n" % len(inputs[0]))


class CountingHook:
    """Gives a run the counter as its timer."""

    def __init__(self, counter: Path) -> None:
        self.timer = PassCounter(counter)


def main(data: str, output: str, cache: str, weights: str, counter: str) -> None:
    config = TrainingConfig(
        data=data,
        architecture="resnet18",
        weights=weights,
        epochs=3,
        device="cpu",
        output=Path(output),
        cache_dir=Path(cache),
    )
    Trainer(config).fit(hooks=[CountingHook(Path(counter))])


if __name__ == "__main__":
    main(*sys.argv[1:])
