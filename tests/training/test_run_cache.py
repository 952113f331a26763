"""What consecutive training runs share: weights, and fingerprints of images."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from breedclf.config import TrainingConfig
from breedclf.data.split import ImageFiles
from breedclf.features.digests import digests_of
from breedclf.models.network import new_network
from breedclf.training import run_cache as shared
from breedclf.training.run_cache import RunCache


def config(weights: str | Path, **settings) -> TrainingConfig:
    return TrainingConfig(data="images", architecture="resnet18", weights=str(weights), **settings)


def test_the_same_weights_are_loaded_once(tmp_path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(new_network("resnet18", seed=1).state_dict(), file)
    run_cache = RunCache()
    first = run_cache.pretrained(config(file))
    assert run_cache.pretrained(config(file, learning_rate=0.01, seed=5)).state is first.state
    torch.save(new_network("resnet18", seed=2).state_dict(), file)
    os.utime(file, (1, 1))
    assert run_cache.pretrained(config(file)).fingerprint != first.fingerprint


def test_random_weights_are_identified_by_their_seed() -> None:
    run_cache = RunCache()

    def name(cache: RunCache, seed: int) -> str:
        return cache.pretrained(config("none", seed=seed)).fingerprint

    assert name(run_cache, 1) == name(RunCache(), 1)
    assert name(run_cache, 2) != name(run_cache, 1)


def test_images_are_read_for_their_fingerprint_once_unless_a_file_changes(tmp_path, monkeypatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(shared, "digests_of", lambda images: read.append(len(images)) or digests_of(images))
    paths = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for path in paths:
        path.write_bytes(b"image")
    run_cache = RunCache()
    first = run_cache.digests(ImageFiles(paths)).fingerprint
    assert run_cache.digests(ImageFiles(paths)).fingerprint == first == digests_of(ImageFiles(paths)).fingerprint
    assert read == [2]
    paths[1].write_bytes(b"another image")
    assert run_cache.digests(ImageFiles(paths)).fingerprint == digests_of(ImageFiles(paths)).fingerprint != first
    assert run_cache.digests(ImageFiles(paths[:1])).fingerprint != first
    assert read == [2, 2, 1]


def test_an_image_that_is_gone_has_no_fingerprint_of_before(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"image")
    run_cache = RunCache()
    before = run_cache.digests(ImageFiles([path])).fingerprint
    path.unlink()
    assert run_cache.digests(ImageFiles([path])).fingerprint == digests_of(ImageFiles([path])).fingerprint != before


def test_an_image_of_the_same_size_and_time_is_still_another(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"image")
    os.utime(path, (1, 1))
    run_cache = RunCache()
    before = run_cache.digests(ImageFiles([path])).fingerprint
    path.write_bytes(b"erutcip")
    os.utime(path, (1, 1))
    assert run_cache.digests(ImageFiles([path])).fingerprint == digests_of(ImageFiles([path])).fingerprint != before
