"""Every backend passes the same tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from breedclf.backends.inline import InlineBackend
from breedclf.backends.local.backend import LocalBackend
from breedclf.testing.backend_cases import BackendCases


@pytest.mark.skipif(sys.platform == "win32", reason="the local backend needs POSIX processes")
class TestLocal(BackendCases):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:
        return LocalBackend(tmp_path / "home", cores=2, gpus=(), stop_grace_seconds=5)

    @pytest.fixture
    def same_jobs(self, tmp_path: Path) -> LocalBackend:
        return LocalBackend(tmp_path / "home")


class TestInline(BackendCases):
    runs_in_background = False

    @pytest.fixture
    def backend(self, tmp_path: Path) -> InlineBackend:
        return InlineBackend(tmp_path / "home")

    @pytest.fixture
    def same_jobs(self, tmp_path: Path) -> InlineBackend:
        return InlineBackend(tmp_path / "home")
