"""What trainings that follow each other share: weights, and fingerprints of pictures."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from breedclf.config import TrainingConfig
from breedclf.learning import workbench as shared
from breedclf.learning.features import fingerprint_of
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


def test_pictures_are_read_for_their_fingerprint_once_unless_a_file_changes(tmp_path, monkeypatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(shared, "fingerprint_of", lambda paths: read.append(len(paths)) or fingerprint_of(paths))
    paths = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for path in paths:
        path.write_bytes(b"picture")
    workbench = Workbench()
    first = workbench.fingerprint(paths)
    assert workbench.fingerprint(paths) == first == fingerprint_of(paths)
    assert read == [2]
    paths[1].write_bytes(b"another picture")
    assert workbench.fingerprint(paths) == fingerprint_of(paths) != first
    assert workbench.fingerprint(paths[:1]) != first
    assert read == [2, 2, 1]


def test_a_picture_that_is_gone_has_no_fingerprint_of_before(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    workbench = Workbench()
    before = workbench.fingerprint([path])
    path.unlink()
    assert workbench.fingerprint([path]) == fingerprint_of([path]) != before


def test_a_picture_of_the_same_size_and_time_is_still_another(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    os.utime(path, (1, 1))
    workbench = Workbench()
    before = workbench.fingerprint([path])
    path.write_bytes(b"erutcip")
    os.utime(path, (1, 1))
    assert workbench.fingerprint([path]) == fingerprint_of([path]) != before
