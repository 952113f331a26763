"""Training jobs at the emulator, by boto3: the uploaded source is what runs, and S3 gets what it wrote."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.backends.sagemaker.job_requests import channel, script_job, wait_for_job

GROUP = "/aws/sagemaker/TrainingJobs"
SCRIPT = """
import os, sys
import importlib.util
print("breedclf is here: " + str(importlib.util.find_spec("breedclf") is not None))
print("arguments " + str(sys.argv[1:]))
print("images " + str(sorted(os.listdir(os.environ["SM_CHANNEL_TRAINING"]))))
print("loss=0.75")
print("loss=0.25", flush=True)
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights"), "w") as file:
    file.write("learned")
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "report.txt"), "w") as file:
    file.write("a report")
"""


def events_of(client: Any, name: str) -> list[str]:
    logs = client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    found = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"], startFromHead=True)
    return [event["message"] for event in found["events"]]


def test_the_uploaded_source_runs_and_s3_gets_what_it_wrote(
    client: Any, bucket: str, container_python: tuple[Path, str]
) -> None:
    s3, sagemaker = client("s3"), client("sagemaker")
    s3.put_object(Bucket=bucket, Key="data/one.txt", Body=b"1")
    s3.put_object(Bucket=bucket, Key="data/two.txt", Body=b"2")
    request = script_job(client, bucket, "uploaded", SCRIPT, HyperParameters={"rate": "0.1", "kind": '"adam"'})
    request["InputDataConfig"].append(channel("training", f"s3://{bucket}/data"))

    sagemaker.create_training_job(**request)
    done = wait_for_job(client, "uploaded")

    lines = events_of(client, "uploaded")
    assert done["TrainingJobStatus"] == "Completed", (done.get("FailureReason"), lines)
    assert "breedclf is here: False" in lines
    assert "arguments ['--kind', 'adam', '--rate', '0.1']" in lines
    assert "images ['one.txt', 'two.txt']" in lines
    runner = "the container's contract alone" if container_python[1] else "sagemaker-training"
    assert lines[0].startswith(f"breedclf emulator: the image is run by {runner}")
    assert [(each["MetricName"], each["Value"]) for each in done["FinalMetricDataList"]] == [("loss", 0.25)]
    steps = [each["Status"] for each in done["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    for uri, name, content in (("model", "weights", b"learned"), ("output", "report.txt", b"a report")):
        packed = s3.get_object(Bucket=bucket, Key=f"out/uploaded/output/{uri}.tar.gz")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            file = tar.extractfile(name)
            assert file is not None
            assert file.read() == content
    assert done["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{bucket}/out/uploaded/output/model.tar.gz"


def test_a_failed_job_has_its_reason_and_a_stopped_one_its_model(client: Any, bucket: str) -> None:
    sagemaker = client("sagemaker")
    failing = script_job(client, bucket, "failing", "import sys; print('loss=1'); sys.exit('no images')")
    sagemaker.create_training_job(**failing)
    failed = wait_for_job(client, "failing")  # before the other one takes its cores
    endless = (
        "import os, time; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('half'); print('started', flush=True); "
        "time.sleep(100)"
    )
    sagemaker.create_training_job(**script_job(client, bucket, "stopping", endless))

    assert failed["TrainingJobStatus"] == "Failed"
    assert failed["FailureReason"].startswith("AlgorithmError: ")
    while sagemaker.describe_training_job(TrainingJobName="stopping")["SecondaryStatus"] != "Training":
        time.sleep(0.05)
    while "started" not in events_of(client, "stopping"):
        time.sleep(0.05)
    sagemaker.stop_training_job(TrainingJobName="stopping")
    stopped = wait_for_job(client, "stopping")
    assert (stopped["TrainingJobStatus"], stopped["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert client("s3").head_object(Bucket=bucket, Key="out/stopping/output/model.tar.gz")["ContentLength"] > 100
    with pytest.raises(ClientError, match="The request was rejected because the training job is in status Stopped."):
        sagemaker.stop_training_job(TrainingJobName="stopping")
    names = [
        each["TrainingJobName"] for each in sagemaker.list_training_jobs(StatusEquals="Stopped")["TrainingJobSummaries"]
    ]
    assert "stopping" in names
    assert "failing" not in names


def test_features_that_are_not_emulated_are_refused(client: Any) -> None:
    with pytest.raises(ClientError, match="emulator doesn't emulate sagemaker:ListActions"):
        client("sagemaker").list_actions()
    with pytest.raises(ClientError, match="emulator doesn't emulate ecr:DescribeRepositories"):
        client("ecr").describe_repositories()
    assert client("sts").get_caller_identity()["Account"] == "123456789012"
    assert client("iam").get_role(RoleName="breedclf")["Role"]["Arn"].endswith(":role/breedclf")
