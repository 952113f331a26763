"""A recorded run in S3: fetched from a real server of S3's protocol, judged as on disk, refused with the address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from breedclf import ProfilingSession
from breedclf.cli import main
from breedclf.errors import ConfigError, ProfileError
from breedclf.profiling.profile import JobInfo, Profile

LINE = '{"Type":"cpu","Name":"cpu0","Dimension":"CPUUtilization","Value":%d,"NodeId":"algo-1","Timestamp":%d}'


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """boto3's client at the server; AWS's own variables lead breedclf there."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="runs")
    yield client
    listed = client.list_objects_v2(Bucket="runs").get("Contents", ())
    for entry in listed:
        client.delete_object(Bucket="runs", Key=entry["Key"])


def put_job(client: Any, prefix: str, samples: int = 80) -> None:
    place = f"{prefix}/profiler-output/system/incremental/2020060305"
    for file in range(2):
        lines = [LINE % (97, 1591160700 + file * samples + at) for at in range(samples)]
        client.put_object(Bucket="runs", Key=f"{place}/159116070{file}.algo-1.json", Body="\n".join(lines).encode())
    client.put_object(Bucket="runs", Key=f"{prefix}/profiler-output/framework/training_job_end.ts", Body=b"1591160900")
    client.put_object(Bucket="runs", Key=f"{prefix}/output/model.tar.gz", Body=b"large")


def test_sagemakers_output_is_read_from_a_bucket(s3: Any) -> None:
    put_job(s3, "jobs/dogs-1")
    for place in ("s3://runs/jobs/dogs-1", "s3://runs/jobs/dogs-1/profiler-output/"):
        profile = ProfilingSession.attach(place).profile
        assert (profile.job.name, profile.job.source, profile.job.status) == ("dogs-1", "sagemaker", "Completed")
        (series,) = profile.system.series
        assert len(series.time) == 160


def test_a_profile_of_ours_is_reported_from_a_bucket(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Profile(job=JobInfo(name="ours", start=0.0, end=9.0)).to_json()
    s3.put_object(Bucket="runs", Key="ours/profile/profile.json", Body=text.encode())
    assert main(["profile", "s3://runs/ours", "--output", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"]
    assert "Profile of ours" in (tmp_path / "out" / "report.html").read_text()


def test_rule_reports_are_read_from_a_bucket_at_every_level(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"RuleTriggered": 5, "Violations": 60, "Datapoints": 700, "RuleParameters": "stddev:3", "Details": {}}
    top, *below = "jobs/dogs-2/rule-output", "ProfilerReport-170", "profiler-output", "profiler-reports"
    for rule in ("StepOutlier", "BatchSize"):
        key = "/".join((top, *below, f"{rule}.json"))
        s3.put_object(Bucket="runs", Key=key, Body=json.dumps(report).encode())
    for level in range(-1, 4):
        prefix = "/".join((top, *below[:level])) if level >= 0 else "jobs/dogs-2"
        place = f"s3://runs/{prefix}{'/' if level % 2 else ''}"
        assert main(["profile", place, "--output", str(tmp_path / "out"), "--json"]) == 0
        found = {each["rule"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
        counts = [found["StepOutlier"][name] for name in ("times_triggered", "violations", "datapoints")]
        assert counts == [5, 60, 700], place
        assert "Profile of dogs-2" in (tmp_path / "out" / "report.html").read_text()
    s3.put_object(Bucket="runs", Key="/".join(("bad", below[-1], "BatchSize.json")), Body=b"{")
    with pytest.raises(ProfileError, match="no rule report in s3://runs/bad/profiler-reports can be read"):
        ProfilingSession.attach("s3://runs/bad")
    assert main(["profile", "diff", "s3://runs/jobs/dogs-2", "s3://runs/jobs/dogs-2", "--json"]) == 0


def test_files_outside_the_run_are_not_downloaded(s3: Any) -> None:
    put_job(s3, "a")
    s3.put_object(Bucket="runs", Key="a/profiler-output/../../../escaped.json", Body=b"{}")
    session = ProfilingSession.attach("s3://runs/a")
    assert len(session.profile.system.series) == 1


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("s3://", ProfileError, "'s3://' is not an S3 URI"),
        ("s3://runs/nothing", ProfileError, "s3://runs/nothing contains no file of a recorded run"),
        ("s3://no-such-bucket/x", ProfileError, "reading s3://no-such-bucket/x: bucket no-such-bucket does not exist"),
    ],
)
def test_unreadable_sources_are_reported(place: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ProfilingSession.attach(place)


def test_a_prefix_without_a_run_is_reported_with_its_uri(s3: Any) -> None:
    s3.put_object(Bucket="runs", Key="other/notes.json", Body=b"{}")
    with pytest.raises(ProfileError, match="^s3://runs/other holds no recorded run"):
        ProfilingSession.attach("s3://runs/other")


@pytest.mark.usefixtures("s3")
def test_missing_credentials_are_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="no AWS credentials found; run `aws configure`"):
        ProfilingSession.attach("s3://runs/x")
