"""The end of an emulator: its jobs and endpoints end, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from breedclf.backends.emulator.jobs import training_runs
from breedclf.backends.emulator.server import emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend
from tests.backends.sagemaker.job_requests import script_job, tuning_job
from tests.waiting import until

SLEEPS = "import time\nprint('started', flush=True)\ntime.sleep(600)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS


def processes_below(home: Path) -> list[psutil.Process]:
    """Processes of this home's jobs, by their environment or command line."""
    found = []
    for each in psutil.process_iter():
        try:
            if str(home) in each.environ().get("BREEDCLF_JOB_FOLDER", "") or str(home) in " ".join(each.cmdline()):
                found.append(each)
        except psutil.Error:
            continue
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]


def started(home: Path, name: str = "*") -> int:
    return sum("started" in log.read_text() for log in home.glob(f"jobs/{name}/log.txt"))


def test_sigterm_ends_the_command_and_its_jobs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "breedclf", "sagemaker", "emulate", "--home", str(home), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("}"):
            lines.append(process.stdout.readline())
        printed = json.loads("".join(lines))
        environment = printed["environment"]
        shell = f". '{printed['environment_file']}' && printenv AWS_SECRET_ACCESS_KEY"
        shown = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == environment["AWS_SECRET_ACCESS_KEY"]

        def client(service: str) -> Any:
            keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
            return boto3.Session(*keys, region_name="us-east-1").client(service, endpoint_url=printed["url"])

        client("s3").create_bucket(Bucket="mine")
        client("sagemaker").create_training_job(**script_job(client, "mine", "sleeper", SLEEPS))
        until(lambda: started(home))
        signalled = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - signalled < 30
    until(lambda: not processes_below(home))
    assert LocalBackend(home).describe("sleeper").status == "Stopped"


def test_children_of_a_tuning_job_are_killed_if_they_ignore_sigterm(
    tmp_path: Path, plain_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_runs, "_END_SECONDS", 1.0)
    home = tmp_path / "home"
    config: dict[str, Any] = {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 3},
        "ParameterRanges": {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "9999"}]},
    }
    local = LocalBackend(home, cores=3, gpus=(), python=plain_python)
    with running_emulator(local, end_jobs=True) as emulator:
        client = lambda service: emulator.session().client(service, endpoint_url=emulator.url)  # noqa: E731
        client("s3").create_bucket(Bucket="mine")
        request = tuning_job(client, "mine", "stubborn", STUBBORN, config)
        client("sagemaker").create_hyper_parameter_tuning_job(**request)
        until(lambda: started(home, "stubborn-*") == 3)
        assert len(processes_below(home)) >= 3
    until(lambda: not processes_below(home))
    with running_emulator(local) as emulator:
        sagemaker = emulator.session().client("sagemaker", endpoint_url=emulator.url)
        found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="stubborn")
        assert found["HyperParameterTuningJobStatus"] == "Stopped"
        assert found["TrainingJobStatusCounters"]["Stopped"] == 3
