"""Training jobs on the emulator: how many calls they cost, how often a wait looks, and what comes back."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from breedclf import Classifier, Job, ProfilingSession, SageMakerBackend, Trainer, TrainingConfig
from breedclf.backends.emulator.faults import Fault
from breedclf.backends.emulator.server import Emulator
from breedclf.errors import ConfigError, DataError, JobError
from breedclf.jobs import JobSpec
from breedclf.testing.backend_cases import script_source
from breedclf.testing.images import write_image_set
from tests.backends.sagemaker.contexts import backend_at
from tests.fakes import FakeClock


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("images"), classes=2, train=4, valid=2, test=1, size_px=64)


@pytest.fixture
def backend(quick: Emulator, quick_bucket: str, tmp_path: Path) -> SageMakerBackend:
    quick.plane.faults.clear()  # the calls that made the bucket
    return backend_at(quick, quick_bucket, tmp_path / "home")


def config(data: Any, **changes: Any) -> TrainingConfig:
    return TrainingConfig(data=data, architecture="resnet18", weights="none", epochs=1, **changes)


def calls(emulator: Emulator) -> Counter[str]:
    return Counter(
        (f"s3:{call['operation']}" if call["service"] == "s3" else call["operation"])
        for call in emulator.plane.faults.calls()
    )


def test_a_training_job_returns_its_model_and_profile(backend: SageMakerBackend, images: Path, quick: Emulator) -> None:
    """Also the calls that submitting costs: a look for code and data, what lacks, and the job."""
    job = Trainer(config(images), backend=backend).submit(name="whole-training")
    first = calls(quick)
    files = sum(path.is_file() for path in images.rglob("*"))
    assert first == {
        "s3:ListObjectsV2": 3,  # the code, the data, and the data again to verify
        "s3:PutObject": 1 + files + 1,  # the code, the images, their manifest
        "DescribeTrainingJob": 1,  # is the name free?
        "s3:HeadBucket": 1,
        "GetCallerIdentity": 1,
        "CreateTrainingJob": 1,
    }
    job.wait()
    assert job.status == "Completed"
    assert {"best_valid_loss", "epoch"} <= set(job.metrics)
    assert job.metric_history[0].values["epoch"] == 1
    assert Classifier(job.artifact).predict(next((images / "test").rglob("*.jpg"))).top(1)

    session = ProfilingSession.attach("whole-training", backend=backend)
    assert session.profile.steps
    assert session.findings

    quick.plane.faults.clear()
    again = Trainer(config(images), backend=backend).submit(name="whole-training-2")
    assert calls(quick) == {
        "s3:ListObjectsV2": 2,  # the code, which is compared, and the data
        "s3:HeadObject": 1,
        "DescribeTrainingJob": 1,
        "CreateTrainingJob": 1,
    }
    again.stop()
    again.wait(check=False)
    names = [each.name for each in backend.list_jobs()]
    assert names.index("whole-training") < names.index("whole-training-2")


def test_a_profiling_session_runs_there(backend: SageMakerBackend, images: Path) -> None:
    session = ProfilingSession(config(images), backend=backend).run()
    assert session.profile.steps
    assert session.profile.job.name


class Watched:
    """A backend whose job ends after ten minutes, and that records the times of `describe`."""

    name = "watched"

    def __init__(self, backend: SageMakerBackend, clock: FakeClock) -> None:
        self.poll_seconds = backend.poll_seconds
        self._inner, self._clock = backend, clock
        self.looks: list[float] = []

    def describe(self, name: str) -> Any:
        self.looks.append(self._clock.now)
        if self._clock.now >= 1_600:
            self._inner.stop(name)
            Job(name, self._inner).wait(check=False)
        return self._inner.describe(name)

    def read_log(self, name: str, position: int = 0) -> tuple[str, int]:
        return self._inner.read_log(name, position)


@pytest.mark.parametrize("way", ["wait", "follow the log"])
def test_waiting_polls_at_most_four_times_a_minute(
    quick: Emulator, quick_bucket: str, tmp_path: Path, way: str
) -> None:
    patient = backend_at(quick, quick_bucket, tmp_path / "home", poll_seconds=None)
    assert patient.poll_seconds == 15
    name = f"waited-for-{way[:4]}"
    quick = backend_at(quick, quick_bucket, tmp_path / "home")
    quick.submit(JobSpec(name, source=script_source(tmp_path / "source", "import time\ntime.sleep(300)")))
    clock = FakeClock(1_000.0)
    watched = Watched(quick, clock)
    watched.poll_seconds = patient.poll_seconds
    job = Job(name, watched, clock=clock)  # type: ignore[arg-type]
    if way == "wait":
        job.wait(check=False)
    else:
        list(job.logs(follow=True))
    after_first = watched.looks[1:]
    assert len(after_first) > 10
    for begin in after_first:
        assert sum(begin <= look < begin + 60 for look in after_first) <= 4
    assert max(clock.slept) > min(clock.slept), "it backs off"


def test_images_that_training_cannot_use_are_reported_before_the_upload(
    backend: SageMakerBackend, tmp_path: Path, quick: Emulator
) -> None:
    data = write_image_set(tmp_path / "broken", classes=2, train=2, valid=2, test=1, size_px=64)
    next((data / "train").rglob("*.jpg")).write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"would fail \(1 problems\): .*unreadable.*nothing was uploaded"):
        Trainer(config(data), backend=backend).submit()
    assert calls(quick) == {}
    job = Trainer(config(data, on_bad_image="skip"), backend=backend).submit(name="skips-bad")
    job.stop()
    assert job.wait(check=False).status == "Stopped"


def test_invalid_requests_are_reported_before_the_upload(
    backend: SageMakerBackend, images: Path, quick: Emulator
) -> None:
    with pytest.raises(ConfigError, match="runs at most 2419200 s"):
        Trainer(config(images), backend=backend).submit(max_runtime_seconds=1e8)
    with pytest.raises(ConfigError, match="no IAM role is set"):
        SageMakerBackend(bucket="b", region="us-east-1").request_for(JobSpec("x"))
    assert calls(quick) == {}


def test_a_log_can_be_read_on_from_another_process(backend: SageMakerBackend, tmp_path: Path) -> None:
    script = "for n in range(50):\n    print(f'line {n}', flush=True)"
    backend.submit(JobSpec("read-on", source=script_source(tmp_path / "source", script)))
    Job("read-on", backend).wait()
    whole, end = "", 0
    part, end = backend.read_log("read-on", 0)
    while part:
        whole += part
        part, end = backend.read_log("read-on", end)
    assert "line 49" in whole
    other = SageMakerBackend(settings=backend.settings, clients=backend.clients, home=tmp_path / "other")
    assert other.read_log("read-on", end) == ("", end)
    assert other.read_log("read-on", 0)[0] == whole[: len(other.read_log("read-on", 0)[0])]
    tail = other.log_tail("read-on", 200)
    assert 0 < len(tail.text) <= 200
    assert whole.endswith(tail.text)
    assert tail.size is None


def test_where_the_log_may_not_be_read_the_last_metrics_are_still_known(
    backend: SageMakerBackend, tmp_path: Path, quick: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    script = """print('breedclf-metrics {"epoch": 1, "train_loss": 0.5}')"""
    backend.submit(JobSpec("no-log", source=script_source(tmp_path / "source", script)))
    job = Job("no-log", backend).wait()
    quick.plane.faults.add(Fault(operation="DescribeLogStreams", preset="access-denied", times=None))
    assert [dict(record.values) for record in job.metric_history] == [{"epoch": 1, "train_loss": 0.5}]
    assert "missing permission logs:DescribeLogStreams" in caplog.text


def test_a_model_that_leads_out_of_its_folder_is_not_unpacked(backend: SageMakerBackend, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("../../escaped")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    source = script_source(tmp_path / "source", "import os\nopen(os.environ['SM_MODEL_DIR'] + '/m', 'w').close()")
    backend.submit(JobSpec("hostile", source=source))
    job = Job("hostile", backend).wait()
    backend.storage.put(job.describe().details["model"], packed.getvalue())
    with pytest.raises(JobError, match="may point outside of the folder"):
        _ = job.artifact
    assert not list(tmp_path.rglob("escaped"))
