"""AWS's own clients, unmodified, against the emulator: the SageMaker SDK, and the AWS command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from breedclf.backends.common.folder import job_folder
from breedclf.backends.emulator.server import Emulator
from tests.backends.conftest import Clients
from tests.backends.emulator.test_serving import ECHO, upload_echo
from tests.backends.sagemaker.job_requests import archive_of, model_request, script_job, variant

SECONDS = 240


def scenario(name: str, *arguments: str, root: Path) -> dict[str, Any]:
    """What a program that uses the SDK saw; a process of its own, since the SDK takes seconds to import."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.backends.emulator.scenarios.{name}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout.rpartition("\nSEEN ")[2])  # before it, the SDK draws
    return seen


def test_the_sdks_model_trainer_trains(
    emulator: Emulator, client: Clients, bucket: str, tmp_path: Path, project_root: Path
) -> None:
    client("s3").put_object(Bucket=bucket, Key="data/one.txt", Body=b"1")
    (tmp_path / "train.py").write_text(
        "import os, sys\nprint('arguments ' + str(sys.argv[1:]))\n"
        "print(os.listdir(os.environ['SM_CHANNEL_TRAINING']))\n"
        "open(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('learned')\n"
    )
    seen = scenario("sdk_train", bucket, str(tmp_path), root=project_root)
    assert seen["status"] == "Completed"
    log = job_folder(emulator.plane.local.home, seen["name"]).log_file.read_text()
    assert "run by the request's own entry point" in log
    assert "arguments ['--rate', '0.5', '--kind', 'adam']" in log
    assert "['one.txt']" in log
    assert client("s3").head_object(Bucket=bucket, Key=f"out/{seen['name']}/output/model.tar.gz")


@pytest.mark.slow
def test_the_sdks_tuner_tunes_and_its_analytics_read_it(client: Clients, bucket: str, project_root: Path) -> None:
    script = "import json, os\nprint('loss=%f' % json.loads(os.environ['SM_HPS'])['rate'])\n"
    source = archive_of({"train.py": script})
    client("s3").put_object(Bucket=bucket, Key="code/tuned/sourcedir.tar.gz", Body=source)
    seen = scenario("sdk_tune", bucket, root=project_root)
    assert seen["statuses"] == ["Completed"]
    assert seen["best_objective"] == min(seen["objectives"])
    assert seen["best"].startswith("by-the-sdk-0")
    assert set(seen["tuned"]) == {"rate", "kind"}
    assert {"rate", "kind", "FinalObjectiveValue", "TrainingElapsedTimeSeconds"} <= set(seen["columns"])
    assert len(seen["objectives"]) == 3


@pytest.mark.slow
def test_the_sdk_deploys_invokes_and_deletes(quick_client: Clients, quick_bucket: str, project_root: Path) -> None:
    body = archive_of({"word": "hello", "code/inference.py": ECHO})
    quick_client("s3").put_object(Bucket=quick_bucket, Key="models/model.tar.gz", Body=body)
    seen = scenario("sdk_deploy", quick_bucket, root=project_root)
    assert seen["by_hand"] == {"word": "hello", "bytes": 3}
    assert seen["by_builder"] == {"word": "hello", "bytes": 4}
    assert seen["left"] == []


@pytest.fixture(scope="session")
def aws_program(project_root: Path) -> str:
    own = project_root / ".venv-aws" / "bin" / "aws"
    found = str(own) if own.is_file() else shutil.which("aws")
    if found is None:
        pytest.skip("the AWS command line isn't installed; `make awscli` does it")
    return found


@pytest.mark.slow
def test_the_aws_command_line_trains_deploys_asks_and_deletes(
    quick_client: Clients, quick_bucket: str, aws_program: str, tmp_path: Path
) -> None:
    def aws(*words: str) -> Any:
        done = subprocess.run(
            [aws_program, *words, "--output", "json"], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[", '"')) else done.stdout

    job = script_job(quick_client, quick_bucket, "by-the-cli", "print('loss=0.5')")
    (tmp_path / "job.json").write_text(json.dumps(job))
    created = aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{tmp_path}/job.json")
    assert created["TrainingJobArn"].endswith("training-job/by-the-cli")
    while (found := aws("sagemaker", "describe-training-job", "--training-job-name", "by-the-cli"))[
        "TrainingJobStatus"
    ] == "InProgress":
        pass
    assert found["FinalMetricDataList"][0]["Value"] == 0.5
    assert "model.tar.gz" in aws("s3", "ls", f"s3://{quick_bucket}/out/by-the-cli/output/")

    quick_client("sagemaker").create_model(**model_request("cli", upload_echo(quick_client, quick_bucket, "cli")))
    (tmp_path / "config.json").write_text(
        json.dumps({"EndpointConfigName": "cli", "ProductionVariants": variant("cli")})
    )
    aws("sagemaker", "create-endpoint-config", "--cli-input-json", f"file://{tmp_path}/config.json")
    aws("sagemaker", "create-endpoint", "--endpoint-name", "cli", "--endpoint-config-name", "cli")
    while aws("sagemaker", "describe-endpoint", "--endpoint-name", "cli")["EndpointStatus"] == "Creating":
        pass
    (tmp_path / "image").write_bytes(b"12345")
    words = ["--endpoint-name", "cli", "--body", f"fileb://{tmp_path}/image", "--content-type", "text/csv"]
    aws("sagemaker-runtime", "invoke-endpoint", *words, str(tmp_path / "answer"))
    assert json.loads((tmp_path / "answer").read_text()) == {"word": "cli", "bytes": 5}
    aws("sagemaker", "delete-endpoint", "--endpoint-name", "cli")


def test_the_command_prints_its_url_and_exits_with_0(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "breedclf", "sagemaker", "emulate", "--home", str(tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("}"):
            lines.append(process.stdout.readline())
        printed = json.loads("".join(lines))
        assert printed["environment"]["AWS_ENDPOINT_URL"] == printed["url"]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in printed["environment"].items():
                patch.setenv(name, value)
            assert boto3.Session().client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
            assert boto3.Session().client("s3").list_buckets()["Buckets"] == []
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
