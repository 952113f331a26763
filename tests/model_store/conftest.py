"""Stores in temporary folders with a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf import ModelStore
from tests.fakes import FakeClock
from tests.integration.conftest import small_disk
from tests.model_store.stored import write_model

__all__ = ["small_disk"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> ModelStore:
    return ModelStore(tmp_path / "store", clock=clock)


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Writes another model directory with each call."""
    folders = iter(range(1000))
    return lambda content=b"weights", **card: write_model(tmp_path / f"run-{next(folders)}/model", content, **card)
