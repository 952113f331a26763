"""Pytest fixtures for users' own tests: tiny images, and a backend that runs real jobs on them within seconds.

Name the module in a `conftest.py`: `pytest_plugins = ["breedclf.testing.fixtures"]`. Each test then has its own home
folder, so jobs, tuning jobs and endpoints of other tests and earlier runs don't exist for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from breedclf.api.endpoint import Endpoint
from breedclf.backends.common.folder import HOME_VARIABLE
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.local.forkserver_client import end_forkservers
from breedclf.config import TrainingConfig
from breedclf.jobs import JobSpec
from breedclf.jobs.handle import Job
from breedclf.testing.images import write_image_set

if TYPE_CHECKING:
    from breedclf.backends.emulator.server import Emulator

_TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="session")
def breedclf_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 16 small synthetic images of two classes, in train/, valid/ and test/."""
    return write_image_set(tmp_path_factory.mktemp("breedclf") / "images", classes=2, train=4, valid=2, test=2)


@pytest.fixture(autouse=True)
def breedclf_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This test's home folder (`BREEDCLF_HOME`); every test has one, also if it doesn't name this fixture."""
    home = tmp_path_factory.mktemp("breedclf-home")
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    return home


@pytest.fixture(scope="session")
def _breedclf_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the tests of a session share: cached features, and the process that has imported torch for their jobs."""
    folder = tmp_path_factory.mktemp("breedclf-session")
    yield folder
    end_forkservers(sys.executable)


@pytest.fixture
def breedclf_config(
    breedclf_images: Path, _breedclf_session: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainingConfig:
    """Settings of a minimal training run: one epoch of ResNet-18 without pretrained weights, on the tiny images.

    The output folder is this test's own.
    """
    settings: dict[str, Any] = {
        "data": breedclf_images,
        "architecture": "resnet18",
        "weights": "none",
        "epochs": 1,
        "chunk_size": 8,
        "device": "cpu",
        "cache_dir": _breedclf_session / "cache",
        "output": tmp_path_factory.mktemp("breedclf-output"),
    }
    return TrainingConfig(**settings)


@pytest.fixture
def breedclf_backend(breedclf_home: Path, _breedclf_session: Path) -> Iterator[LocalBackend]:
    """A local backend in this test's home; the first job of a session imports torch, later ones reuse the import.

    When the test ends, running jobs are stopped, endpoints are deleted, and no process of them is left.
    """
    backend = _TestBackend(breedclf_home, _breedclf_session)
    yield backend
    running = [job.name for job in backend.list_jobs() if not job.status.is_final]
    for name in running:
        backend.stop(name)
    for name in running:
        Job(name, backend).wait(timeout_seconds=_TIMEOUT_SECONDS, check=False)
    for job in backend.list_jobs():
        backend.join(job.name)
    for endpoint in backend.list_endpoints():
        Endpoint(endpoint.name, backend).delete(timeout_seconds=_TIMEOUT_SECONDS)


@pytest.fixture(scope="session")
def breedclf_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The SageMaker emulator in its own folder; `environment` and `session()` provide the only keys that it accepts.

    When the session ends, its jobs and endpoints are stopped.
    """
    from breedclf.backends.emulator.server import emulator

    local = LocalBackend(tmp_path_factory.mktemp("breedclf-emulator"), gpus=(), stop_grace_seconds=2)
    with emulator(local, end_jobs=True) as running:
        yield running


class _TestBackend(LocalBackend):
    """Jobs in one test's home, which share cores and the preloaded process with the other tests of the session."""

    def __init__(self, home: Path, session: Path) -> None:
        super().__init__(home, gpus=(), stop_grace_seconds=2, preload=True)
        self._session = session

    def _options(self, spec: JobSpec) -> dict[str, Any]:
        return {**super()._options(spec), "home": str(self._session)}
