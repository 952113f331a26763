"""Speeds are timed for a moment only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from breedclf.backbones import speed


@pytest.fixture(scope="session", autouse=True)
def _short_timing() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_SECONDS", 0.01)
        yield
