"""Pytest fixtures for users' own tests: tiny images, and a backend that runs real jobs on them within seconds.

Name the module in a `conftest.py`: `pytest_plugins = ["breedclf.testing.fixtures"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from breedclf.backends.local.backend import LocalBackend
from breedclf.config import TrainingConfig
from breedclf.jobs.handle import Job
from breedclf.testing.images import write_image_set

if TYPE_CHECKING:
    from breedclf.backends.emulator.server import Emulator

_TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="session")
def breedclf_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 16 small synthetic images of two classes, in train/, valid/ and test/."""
    return write_image_set(tmp_path_factory.mktemp("breedclf") / "images", classes=2, train=4, valid=2, test=2)


@pytest.fixture(scope="session")
def breedclf_config(breedclf_images: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    """Settings of a minimal training run: one epoch of ResNet-18 without pretrained weights, on the tiny images."""
    settings: dict[str, Any] = {
        "data": breedclf_images,
        "architecture": "resnet18",
        "weights": "none",
        "epochs": 1,
        "chunk_size": 8,
        "device": "cpu",
        "cache_dir": tmp_path_factory.mktemp("breedclf-cache"),
        "output": tmp_path_factory.mktemp("breedclf-output"),
    }
    return TrainingConfig(**settings)


@pytest.fixture(scope="session")
def breedclf_backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A local backend in its own folder; the first job of a session imports torch, later ones reuse the import.

    When the session ends, running jobs are stopped, and no process is left.
    """
    backend = LocalBackend(tmp_path_factory.mktemp("breedclf-home"), gpus=(), stop_grace_seconds=2, preload=True)
    yield backend
    running = [job.name for job in backend.list_jobs() if not job.status.is_final]
    for name in running:
        backend.stop(name)
    for name in running:
        Job(name, backend).wait(timeout_seconds=_TIMEOUT_SECONDS, check=False)
    backend.close()


@pytest.fixture(scope="session")
def breedclf_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The SageMaker emulator in its own folder; `environment` and `session()` provide the only keys that it accepts.

    When the session ends, its jobs and endpoints are stopped.
    """
    from breedclf.backends.emulator.server import emulator

    local = LocalBackend(tmp_path_factory.mktemp("breedclf-emulator"), gpus=(), stop_grace_seconds=2)
    with emulator(local, end_jobs=True) as running:
        yield running
