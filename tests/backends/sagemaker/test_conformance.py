"""`SageMakerBackend` passes the shared backend tests against the emulator, which runs the uploaded code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.server import Emulator, emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import BackendCases
from tests.backends.emulator.answers import checked_answers
from tests.backends.sagemaker.contexts import backend_at

# What the container prints of its own: the emulator's word, and the toolkit's log, tables and command line.
_FOREIGN = re.compile(
    r"breedclf emulator: |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ |/\S*python\S* |Invoking script|Returning the "
    r"value itself|Training Env:|Environment "
    r"variables:|SM_|PYTHONPATH=|\{|\}|\s|\[notice\]|$"
)


# BREEDCLF_TEST_TOOLKIT=1 lets the image's own toolkit start each job, which takes seconds more a job.
WITH_TOOLKIT = os.environ.get("BREEDCLF_TEST_TOOLKIT") == "1"


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulator, str]]:
    """An emulator of one's own, for lists of jobs that hold no one else's, and a bucket in it."""
    home = tmp_path_factory.mktemp("conformance")
    python = request.getfixturevalue("container_python" if WITH_TOOLKIT else "plain_python")
    if WITH_TOOLKIT:
        python, why_not = python
        assert not why_not, why_not
    with (
        running_emulator(LocalBackend(home, cores=2, gpus=(), stop_grace_seconds=5, python=python)) as at,
        checked_answers(at),
    ):
        backend_at(at, "conformance", home).clients("s3").create_bucket(Bucket="conformance")
        yield at, "conformance"


class TestSageMaker(BackendCases):
    timeout_seconds: ClassVar[float] = 90.0
    reason_has_last_line: ClassVar[bool] = not WITH_TOOLKIT
    lags: ClassVar[Lags] = Lags()
    delay_seconds: ClassVar[float] = 0.0

    @pytest.fixture
    def backend(self, place: tuple[Emulator, str], tmp_path: Path) -> Iterator[SageMakerBackend]:
        place[0].plane.faults.lags = self.lags
        backend = backend_at(*place, tmp_path / "home", delay_seconds=self.delay_seconds)
        yield backend
        place[0].plane.faults.lags = Lags()
        for left in backend.list_jobs():
            backend.stop(left.name)
            Job(left.name, backend).wait(check=False)
            backend.delete(left.name)

    @pytest.fixture
    def same_jobs(self, place: tuple[Emulator, str], backend: SageMakerBackend, tmp_path: Path) -> SageMakerBackend:
        assert backend.home != tmp_path / "elsewhere"
        return backend_at(*place, tmp_path / "elsewhere", delay_seconds=self.delay_seconds)

    def lines(self, job: Job) -> list[str]:
        return [line for line in job.logs() if not _FOREIGN.match(line)]


@pytest.mark.slow
class TestSageMakerWithLags(TestSageMaker):
    """The same where logs, metrics and Search lag behind, as they do on AWS."""

    lags: ClassVar[Lags] = Lags(logs_seconds=0.6, metrics_seconds=0.6, search_seconds=0.6)
    delay_seconds: ClassVar[float] = 1.0
