"""Weights shared by trainings that follow each other."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from breedclf.config import TrainingConfig
from breedclf.learning.model import new_network
from breedclf.learning.workbench import Workbench


def config(weights: str | Path, **settings) -> TrainingConfig:
    return TrainingConfig(data="pictures", architecture="resnet18", weights=str(weights), **settings)


def test_the_same_weights_are_loaded_once(tmp_path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(new_network("resnet18", seed=1).state_dict(), file)
    workbench = Workbench()
    first, name = workbench.weights(config(file))
    assert workbench.weights(config(file, learning_rate=0.01, seed=5))[0] is first
    torch.save(new_network("resnet18", seed=2).state_dict(), file)
    os.utime(file, (1, 1))
    assert workbench.weights(config(file))[1] != name


def test_drawn_weights_go_by_their_seed() -> None:
    workbench = Workbench()
    assert workbench.weights(config("none", seed=1))[1] == Workbench().weights(config("none", seed=1))[1]
    assert workbench.weights(config("none", seed=2))[1] != workbench.weights(config("none", seed=1))[1]
