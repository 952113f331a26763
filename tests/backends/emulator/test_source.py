"""How the emulator comes by a job's script, with SageMaker's toolkits, with one of them and without."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from breedclf.backends.emulator.server import emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend
from tests.backends.conftest import Clients, clients_at, new_bucket, without_breedclf
from tests.backends.emulator.test_training import events_of
from tests.backends.sagemaker.job_requests import archive_of, channel, script_job, wait_for_job

SCRIPT = """
import argparse, os
import helper
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
parser.add_argument("-k")
given = parser.parse_args()
print("given " + str(vars(given)))
print("beside it " + str(sorted(name for name in os.listdir(".") if name.endswith(".py"))))
print("loss=0.5", flush=True)
"""
FILES = {"train.py": SCRIPT, "helper.py": ""}
PAIRS = {"rate": "0.5", "k": '"v"', "_tuning_objective_metric": "loss"}


def job_from_s3(client: Clients, bucket: str, name: str, **more: Any) -> dict[str, Any]:
    """As every SDK sends script mode by default: the source isn't a channel, but an address in S3."""
    client("s3").put_object(Bucket=bucket, Key=f"{name}/source/sourcedir.tar.gz", Body=archive_of(FILES))
    request = script_job(client, bucket, name, SCRIPT, **more)
    address = f'"s3://{bucket}/{name}/source/sourcedir.tar.gz"'
    request["HyperParameters"] |= {**PAIRS, "sagemaker_program": '"train.py"', "sagemaker_submit_directory": address}
    del request["InputDataConfig"]
    return request


def ran(client: Clients, request: dict[str, Any]) -> list[str]:
    """The log of a job that must complete."""
    client("sagemaker").create_training_job(**request)
    done = wait_for_job(client, request["TrainingJobName"])
    lines = events_of(client, request["TrainingJobName"])
    assert done["TrainingJobStatus"] == "Completed", (done.get("FailureReason"), lines)
    return lines


def test_a_source_in_s3_runs_without_the_toolkits(quick_client: Clients, quick_bucket: str) -> None:
    lines = ran(quick_client, job_from_s3(quick_client, quick_bucket, "from-s3"))
    assert "can't import sagemaker_training" in lines[0]
    assert "given {'rate': 0.5, 'k': 'v'}" in lines
    assert "beside it ['helper.py', 'train.py']" in lines


def test_a_source_in_s3_runs_with_the_toolkits(client: Clients, bucket: str, toolkit: Path) -> None:
    lines = ran(client, job_from_s3(client, bucket, "from-s3"))
    assert lines[0].startswith("breedclf emulator: the image is run by sagemaker-training")
    assert str(toolkit) in lines[0]
    assert "given {'rate': 0.5, 'k': 'v'}" in lines
    assert "beside it ['helper.py', 'train.py']" in lines


def test_both_toolkits_are_needed(tmp_path: Path, toolkit: Path) -> None:
    """`pip install sagemaker-training` puts a program called train beside the interpreter, which isn't enough."""
    python = without_breedclf(tmp_path / "one")
    installed = next(toolkit.parent.glob("lib/python*/site-packages/sagemaker_training"))
    own = next((tmp_path / "one").glob("lib/python*/site-packages"))
    (own / "sagemaker_training").symlink_to(installed)
    shutil.copy(toolkit / "train", python.parent / "train")
    local = LocalBackend(tmp_path / "home", cores=1, gpus=(), stop_grace_seconds=2, python=python)
    with running_emulator(local) as running:
        client = clients_at(running)
        lines = ran(client, job_from_s3(client, new_bucket(client), "one-toolkit"))
    assert "can't import sagemaker_pytorch_container" in lines[0]
    assert "given {'rate': 0.5, 'k': 'v'}" in lines


@pytest.mark.parametrize("way", ["a folder", "a script", "a shell script", "variables"])
def test_a_source_may_have_every_form_of_the_toolkit(quick_client: Clients, quick_bucket: str, way: str) -> None:
    name = way.replace(" ", "-")
    s3 = quick_client("s3")
    request = script_job(quick_client, quick_bucket, name, SCRIPT)
    program, place = "train.py", "/opt/ml/input/data/code"
    if way == "a script":
        s3.put_object(Bucket=quick_bucket, Key=f"{name}/alone.py", Body=b"print('beside it alone')")
        program, place = "alone.py", f"{place}/alone.py"
    elif way == "a shell script":
        s3.put_object(Bucket=quick_bucket, Key=f"{name}/s.tar.gz", Body=archive_of({"run.sh": 'echo "beside it $@"'}))
        program, place = "run.sh", f"{place}/s.tar.gz"
    else:
        for file, text in FILES.items():
            s3.put_object(Bucket=quick_bucket, Key=f"{name}/{file}", Body=text.encode())
    request["InputDataConfig"] = [channel("code", f"s3://{quick_bucket}/{name}")]
    if way == "variables":
        request["HyperParameters"] = {}
        request["Environment"] = {"SAGEMAKER_PROGRAM": program, "SAGEMAKER_SUBMIT_DIRECTORY": place}
    else:
        request["HyperParameters"] = {"sagemaker_program": program, "sagemaker_submit_directory": place}
    assert any(line.startswith("beside it") for line in ran(quick_client, request))


@pytest.mark.parametrize(
    ("place", "program", "message"),
    [
        ("s3://{bucket}/nowhere/sourcedir.tar.gz", "train.py", "s3://.*/nowhere/sourcedir.tar.gz.*exist"),
        ("s3://no-such-bucket-of-anybody/sourcedir.tar.gz", "train.py", "s3://no-such-bucket-of-anybody/.*exist"),
        ("/opt/ml/input/data/code/other.tar.gz", "train.py", "other.tar.gz.*neither in S3 nor in a channel"),
        ("s3://{bucket}/code/{name}/sourcedir.tar.gz", "other.py", r"has no other.py.*\['train.py'\]"),
    ],
)
def test_the_error_of_a_missing_source_names_it(
    quick_client: Clients, quick_bucket: str, place: str, program: str, message: str
) -> None:
    name = f"absent-{len(place)}"
    request = script_job(quick_client, quick_bucket, name, SCRIPT)
    pairs = {"sagemaker_submit_directory": place.format(bucket=quick_bucket, name=name), "sagemaker_program": program}
    request["HyperParameters"] |= pairs
    quick_client("sagemaker").create_training_job(**request)
    failed = wait_for_job(quick_client, name)
    assert failed["TrainingJobStatus"] == "Failed"
    assert re.search(message, failed["FailureReason"]), failed["FailureReason"]
