"""`SageMakerBackend` passes the cases of every back end over the emulator, which runs sources by the real toolkit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.job_handle import Job
from breedclf.testing.backend_cases import BackendCases

from .places import backend_at

# What the container prints of its own: the toolkit's log, the script's command line, and pip.
_FOREIGN = re.compile(
    r"breedclf emulator: |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ |/\S*python\S* |Invoking script|Training Env:|Environment "
    r"variables:|SM_|PYTHONPATH=|\{|\}|\s|\[notice\]|$"
)


class TestSageMaker(BackendCases):
    patience_seconds: ClassVar[float] = 90.0

    @pytest.fixture
    def backend(self, emulator: Emulator, bucket: str, tmp_path: Path) -> SageMakerBackend:
        return backend_at(emulator, bucket, tmp_path / "home")

    @pytest.fixture
    def same_place(self, emulator: Emulator, bucket: str, tmp_path: Path) -> SageMakerBackend:
        return backend_at(emulator, bucket, tmp_path / "elsewhere")

    def lines(self, job: Job) -> list[str]:
        return [line for line in job.logs() if not _FOREIGN.match(line)]
