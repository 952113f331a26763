"""Failures of AWS: `SageMakerBackend` loses nothing, and its messages name the remedy."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from breedclf import Job, SageMakerBackend
from breedclf.backends.common.folder import job_folder
from breedclf.backends.emulator.faults import Fault
from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.aws_errors import explain
from breedclf.backends.sagemaker.s3.transfer import upload_folder
from breedclf.backends.sagemaker.training.debugger import REQUEST_KEYS
from breedclf.errors import BreedclfError, ConfigError, JobError, JobFailedError
from breedclf.jobs import JobSpec, SecondaryStatus
from breedclf.testing.backend_cases import script_source
from tests.backends.conftest import switch
from tests.backends.sagemaker.contexts import backend_at
from tests.waiting import until

QUICK = "print('done')"
LONG = "import time\nprint('running', flush=True)\ntime.sleep(300)"
CHECKPOINTED = """
    import os, time
    folder = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints")
    started = len(os.listdir(folder))
    open(os.path.join(folder, "run" + str(started)), "w").write("x")
    print("started " + str(started), flush=True)
    while started < 2:
        time.sleep(0.05)
"""


@pytest.fixture
def backend(quick: Emulator, quick_bucket: str, tmp_path: Path) -> SageMakerBackend:
    return backend_at(quick, quick_bucket, tmp_path / "home")


@pytest.fixture
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A job of this test's own name that runs a script."""

    def spec(script: str = QUICK, **fields: Any) -> JobSpec:
        name = f"fault-{zlib.crc32(request.node.name.encode())}"
        return JobSpec(name, source=script_source(tmp_path / "source", script), **fields)

    return spec


def fault(emulator: Emulator, operation: str, preset: str, **fields: Any) -> None:
    emulator.plane.faults.add(Fault(operation=operation, preset=preset, **fields))


@pytest.mark.parametrize("preset", ["throttling", "server-error", "unavailable", "lost"])
@pytest.mark.parametrize("operation", ["CreateTrainingJob", "DescribeTrainingJob", "s3:PutObject"])
def test_transient_errors_are_retried(
    quick: Emulator, backend: SageMakerBackend, spec: Any, preset: str, operation: str
) -> None:
    fault(quick, operation, preset, times=2)
    job_spec = spec()
    backend.submit(job_spec)
    assert Job(job_spec.name, backend).wait().status == "Completed"
    assert [job.name for job in backend.list_jobs()].count(job_spec.name) == 1


def test_a_lost_response_is_not_a_taken_name(backend: SageMakerBackend, spec: Any) -> None:
    """The service created the job, the response was lost, and botocore's retry failed because the name was taken."""
    client = backend.clients("sagemaker")

    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def create_training_job(self, **request: Any) -> Any:
            client.create_training_job(**request)
            try:
                return client.create_training_job(**request)
            except ClientError as error:
                error.response["ResponseMetadata"]["RetryAttempts"] = 1
                raise

    backend.clients._made["sagemaker"] = Forgetful()
    job_spec = spec()
    backend.submit(job_spec)
    assert Job(job_spec.name, backend).wait().status == "Completed"
    with pytest.raises(ConfigError, match="is taken; choose another"):
        backend.submit(job_spec.replace(hyperparameters={"other": "1"}))


def test_credentials_that_expire_while_waiting(
    quick: Emulator, backend: SageMakerBackend, spec: Any, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job_spec = spec(f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.05)")
    backend.submit(job_spec)
    fault(quick, "DescribeTrainingJob", "expired", after=1, times=None)
    job = Job(job_spec.name, backend)
    with pytest.raises(JobError, match=r"credentials have expired .*sign in again .*running jobs continue"):
        job.wait()
    quick.plane.faults.clear()
    go.touch()
    assert job.wait().status == "Completed"


def test_a_job_that_was_just_submitted_is_waited_for(quick: Emulator, backend: SageMakerBackend, spec: Any) -> None:
    job_spec = spec()
    backend.submit(job_spec)
    fault(quick, "DescribeTrainingJob", "not-yet", times=1)
    assert Job(job_spec.name, backend).wait().status == "Completed"


def test_no_capacity_is_the_job_s_reason(quick: Emulator, backend: SageMakerBackend, spec: Any) -> None:
    job_spec = spec()
    fault(quick, "TrainingJob", "capacity", name=job_spec.name)
    backend.submit(job_spec)
    with pytest.raises(JobFailedError, match="CapacityError: .* retry using a different ML instance type"):
        Job(job_spec.name, backend).wait()


def test_a_job_interrupted_twice_goes_on_from_its_checkpoints(
    quick: Emulator, backend: SageMakerBackend, spec: Any
) -> None:
    job_spec = spec(CHECKPOINTED, spot=True)
    backend.submit(job_spec)
    job = Job(job_spec.name, backend)
    for started in range(2):
        log = job_folder(quick.plane.local.home, job.name).log_file
        until(lambda: log.is_file() and f"started {started}" in log.read_text())  # noqa: B023
        switch(quick, "interruptions", TrainingJobName=job.name)
    assert job.wait().status == "Completed"
    states = [each.status for each in job.describe().transitions]
    assert states.count(SecondaryStatus.INTERRUPTED) == 2
    assert [line for line in job.logs() if line.startswith("started")][-1] == "started 2"
    kept = backend.storage.entries(backend.uri("jobs", job.name, "checkpoints"))
    assert [entry.name for entry in kept] == ["run0", "run1", "run2"]


def test_a_job_deleted_by_another_process_is_reported(backend: SageMakerBackend, spec: Any) -> None:
    job_spec = spec(LONG)
    backend.submit(job_spec)
    job = Job(job_spec.name, backend)
    job.describe()
    job.stop()
    job.wait(check=False)
    backend.clients("sagemaker").delete_training_job(TrainingJobName=job.name)
    with pytest.raises(JobError, match=f"no job {job.name} in us-east-1"):
        job.wait()


@pytest.mark.parametrize(
    ("operation", "preset", "message"),
    [
        ("CreateTrainingJob", "access-denied", "missing permission sagemaker:CreateTrainingJob .*policy"),
        ("CreateTrainingJob", "quota", "ml.m5.xlarge for training job usage.*Service Quotas"),
        ("s3:ListObjectsV2", "access-denied", "listing|checking .*permission"),
    ],
)
def test_a_refusal_names_what_is_missing_and_leaves_no_job(
    quick: Emulator, backend: SageMakerBackend, spec: Any, operation: str, preset: str, message: str
) -> None:
    fault(quick, operation, preset, times=None)
    job_spec = spec()
    with pytest.raises(BreedclfError, match=message):
        backend.submit(job_spec)
    quick.plane.faults.clear()
    with pytest.raises(JobError, match="no job"):
        backend.describe(job_spec.name)
    backend.submit(job_spec)
    assert Job(job_spec.name, backend).wait().status == "Completed"


def test_a_bucket_of_another_region_is_refused(quick: Emulator, tmp_path: Path, spec: Any) -> None:
    here = backend_at(quick, "elsewhere-bucket", tmp_path)
    here.clients("s3").create_bucket(
        Bucket="elsewhere-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    with pytest.raises(BreedclfError, match="elsewhere-bucket.*eu-west-1|us-east-1"):
        here.submit(spec())


def test_a_missing_bucket_is_reported(quick: Emulator, tmp_path: Path, spec: Any) -> None:
    with pytest.raises(BreedclfError, match="bucket no-such-bucket does not exist; create it with `aws s3 mb"):
        backend_at(quick, "no-such-bucket", tmp_path).submit(spec())


def test_a_role_of_another_account_is_reported() -> None:
    error = ClientError(
        {"Error": {"Code": "ValidationException", "Message": "Cross-account pass role is not allowed."}}, "Create"
    )
    assert "the role belongs to another account" in explain(error)


def test_an_upload_that_was_cut_off_goes_on(quick: Emulator, backend: SageMakerBackend, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.txt").write_text(str(number))
    uri = backend.uri("data", "cut")
    fault(quick, "s3:PutObject", "access-denied", after=5, times=None)
    with pytest.raises(BreedclfError, match="permission"):
        upload_folder(backend.storage, folder, uri, threads=1)
    there = [entry.name for entry in backend.storage.entries(uri)]
    assert len(there) == 5
    quick.plane.faults.clear()
    done = upload_folder(backend.storage, folder, uri)
    assert done.sent_files == 12 - 5


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(
    backend: SageMakerBackend, spec: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job_spec = spec(LONG)
    backend.submit(job_spec)

    class Impatient:
        pressed = False

        def time(self) -> float:
            return 0.0

        monotonic = time

        def sleep(self, seconds: float, /) -> None:  # noqa: ARG002
            if not self.pressed:
                self.pressed = True
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Job(job_spec.name, backend, clock=Impatient()).wait()
    assert f"`breedclf jobs logs -f {job_spec.name} --backend sagemaker`" in capsys.readouterr().err
    job = Job.attach(job_spec.name, backend=backend)
    assert job.status == "InProgress"
    job.stop()
    assert job.wait().status == "Stopped"


def test_an_account_without_debugger_gets_the_job_and_a_warning(
    quick: Emulator, quick_bucket: str, tmp_path: Path, spec: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend = backend_at(quick, quick_bucket, tmp_path / "home", debugger=True)
    fault(
        quick,
        "CreateTrainingJob",
        "access-denied",
        code="ValidationException",
        message="SageMaker Debugger is no longer open to new customers.",
    )
    job_spec = spec()
    assert set(REQUEST_KEYS) <= set(backend.request_for(job_spec))
    backend.submit(job_spec)
    assert "this account has no SageMaker Debugger" in caplog.text
    assert Job(job_spec.name, backend).wait().describe().details.get("debug_rules") is None


def test_rules_are_shown_and_their_output_comes_along(
    quick: Emulator, quick_bucket: str, tmp_path: Path, spec: Any
) -> None:
    from breedclf.profiling.readers.aws_report import read_rule_reports

    backend = backend_at(quick, quick_bucket, tmp_path / "home", debugger=True)
    job_spec = spec()
    backend.submit(job_spec)
    job = Job(job_spec.name, backend).wait()
    statuses = job.describe().details
    assert {each["rule"] for each in statuses["debug_rules"]} >= {"Overfit", "VanishingGradient"}
    assert {each["rule"] for each in statuses["profiler_rules"]} >= {"ProfilerReport"}
    assert all(each["status"] for each in statuses["profiler_rules"])
    report = b'{"RuleTriggered": 1, "Violations": 3, "Datapoints": 10, "RuleParameters": "threshold:70", "Details": {}}'
    place = "rule-output/ProfilerReport/profiler-output/profiler-reports/BatchSize.json"
    backend.storage.put(backend.uri("jobs", job.name, place), report)
    (finding,) = read_rule_reports(job.output / "rule-output")
    assert (finding.rule, finding.triggers) == ("BatchSize", 3)
