"""Log lines, metrics and states that AWS brings some seconds late: nothing of them is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breedclf import Job, SageMakerBackend
from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.training.metrics import missing_values
from breedclf.jobs import JobSpec, MetricRecord, seconds_until_complete
from breedclf.testing.backend_cases import script_source
from tests.backends.conftest import switch
from tests.backends.sagemaker.contexts import backend_at

EPOCHS = """
    import time
    for epoch in range(1, 5):
        print('breedclf-metrics {"epoch": %d, "valid_loss": %.2f}' % (epoch, 1 / epoch), flush=True)
        print("epoch", epoch, "done", flush=True)
    print("the last line", flush=True)
"""


@pytest.fixture
def job(quick: Emulator, quick_bucket: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Submits a script to a backend that waits three seconds for what is late."""

    def job(script: str = EPOCHS) -> Job:
        backend = backend_at(quick, quick_bucket, tmp_path / "home", delay_seconds=3)
        spec = JobSpec(
            f"late-{abs(hash(request.node.name)) % 10**8}", source=script_source(tmp_path / "source", script)
        )
        backend.submit(spec)
        return Job(spec.name, backend)

    yield job
    quick.plane.faults.lags = Lags()


def test_following_a_log_brings_the_lines_that_arrive_after_the_end(quick: Emulator, job: Any) -> None:
    switch(quick, "lags", logs_seconds=2)
    lines = [line for line in job().logs(follow=True) if not line.startswith("breedclf emulator")]
    assert lines[-3:] == ['breedclf-metrics {"epoch": 4, "valid_loss": 0.25}', "epoch 4 done", "the last line"]
    assert sum(line.startswith("epoch ") for line in lines) == 4


def test_after_waiting_log_and_metrics_are_complete(quick: Emulator, job: Any) -> None:
    switch(quick, "lags", logs_seconds=2, metrics_seconds=2)
    submitted = job().wait()
    assert submitted.metrics == {"epoch": 4, "valid_loss": 0.25}
    assert [record.values["epoch"] for record in submitted.metric_history] == [1, 2, 3, 4]
    assert "the last line" in list(submitted.logs())


def test_the_history_of_a_job_that_just_ended_waits_for_its_last_lines(quick: Emulator, job: Any) -> None:
    """For callers that use the backend directly, without waiting for the job."""
    switch(quick, "lags", logs_seconds=2)
    submitted: Job = job()
    backend = submitted.backend
    while not backend.describe(submitted.name).status.is_final:
        time.sleep(0.05)
    assert [record.values["epoch"] for record in backend.metric_history(submitted.name)] == [1, 2, 3, 4]


def test_final_values_that_the_log_lacks_come_from_the_service(
    quick: Emulator, quick_bucket: str, tmp_path: Path, job: Any, caplog: pytest.LogCaptureFixture
) -> None:
    submitted: Job = job().wait()
    switch(quick, "lags", logs_seconds=600)  # the log never arrives
    impatient = backend_at(quick, quick_bucket, tmp_path / "home")
    [record] = impatient.metric_history(submitted.name)
    assert dict(record.values) == {"epoch": 4, "valid_loss": 0.25}
    assert not caplog.records  # nothing is wrong with a log that isn't there


def test_a_job_that_search_does_not_know_yet_is_listed_by_its_backend(quick: Emulator, job: Any) -> None:
    switch(quick, "lags", search_seconds=60)
    submitted: Job = job("import time\ntime.sleep(0.2)")
    backend: SageMakerBackend = submitted.backend  # type: ignore[assignment]
    assert submitted.name in [each.name for each in backend.list_jobs()]
    submitted.wait()
    backend.delete(submitted.name)
    assert submitted.name not in [each.name for each in backend.list_jobs()]


def test_the_emulator_delays_the_status_of_an_endpoint() -> None:
    lags = Lags(endpoint_seconds=5)
    up = {"status": "InService", "modified": 100.0, "generation": 1}
    assert lags.endpoint_status(up, now=104.9) == "Creating"
    assert lags.endpoint_status({**up, "generation": 2}, now=104.9) == "Updating"
    assert lags.endpoint_status(up, now=105.0) == "InService"
    assert lags.endpoint_status({**up, "status": "Failed"}, now=100.0) == "Failed"


@pytest.mark.parametrize(
    ("last", "final", "missing"),
    [
        ([{"loss": 0.5}, {"loss": 0.25}], {"loss": 0.25}, {}),
        ([{"loss": 0.5}], {"loss": 0.25}, {"loss": 0.25}),
        ([{"loss": 1 / 3}], {"loss": 0.3333333432674408}, {}),  # as a 32-bit float
        ([], {"loss": 0.25}, {"loss": 0.25}),
        ([{"loss": 0.25, "other": 1}], {"loss": 0.25}, {}),
    ],
)
def test_the_log_is_compared_with_the_final_values(last: Any, final: Any, missing: Any) -> None:
    records = [MetricRecord(float(at), values) for at, values in enumerate(last)]
    assert missing_values(records, final) == missing


def test_waiting_for_late_data_ends_after_the_delay(
    quick: Emulator, quick_bucket: str, tmp_path: Path, job: Any
) -> None:
    backend = backend_at(quick, quick_bucket, tmp_path / "home", delay_seconds=10)
    ended = job("pass").wait().describe()
    assert seconds_until_complete(backend, ended, ended.ended + 4) == pytest.approx(6)
    assert seconds_until_complete(backend, ended, ended.ended + 11) == 0
    assert seconds_until_complete(backend, ended, ended.ended - 3_600) == 10  # this machine's clock is behind
