"""What consecutive training runs share: weights, and fingerprints of images."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from breedclf.config import TrainingConfig
from breedclf.models.backbones.backbone import find_backbone
from breedclf.training.run_cache import RunCache


def config(weights: str | Path, **settings) -> TrainingConfig:
    return TrainingConfig(data="images", architecture="resnet18", weights=str(weights), **settings)


def test_the_same_weights_are_loaded_once(tmp_path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(find_backbone("resnet18").new_network(seed=1).state_dict(), file)
    run_cache = RunCache()
    first = run_cache.pretrained(config(file))
    assert run_cache.pretrained(config(file, learning_rate=0.01, seed=5)).state is first.state
    torch.save(find_backbone("resnet18").new_network(seed=2).state_dict(), file)
    os.utime(file, (1, 1))
    assert run_cache.pretrained(config(file)).fingerprint != first.fingerprint


def test_random_weights_are_identified_by_their_seed() -> None:
    run_cache = RunCache()

    def name(cache: RunCache, seed: int) -> str:
        return cache.pretrained(config("none", seed=seed)).fingerprint

    assert name(run_cache, 1) == name(RunCache(), 1)
    assert name(run_cache, 2) != name(run_cache, 1)
