"""A tuning job whose training jobs share a feature store in S3, on the emulator of SageMaker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import at_least, at_most
from benchmarks.scale.images import write_images
from benchmarks.scale.runs import Setup, say
from breedclf import Categorical, Job, SageMakerBackend, TrainingConfig, TuningJob

_BUCKET = "scale"
_REGION = "us-east-1"
_ROLE = "arn:aws:iam::123456789012:role/breedclf"
_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.14-cpu-amzn2023-sagemaker"
_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


def tuning(setup: Setup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A native grid search of twelve jobs on N images: how many pass through a backbone in all jobs together."""
    import boto3

    count, valid = setup.images(200, 24), setup.images(40, 8)
    data = write_images(setup.folder / "tuned", {"train": count - valid, "valid": valid})
    rates = setup.times(len(_RATES), 1)
    space = {"learning_rate": Categorical(*_RATES[:rates]), "epochs": Categorical(2, 3)}
    config = TrainingConfig(
        data=data,
        architecture="resnet18",
        weights=setup.weights,
        device="cpu",
        feature_store=f"s3://{_BUCKET}/features",
    )
    with _emulator(setup.folder / "emulator") as variables:
        backend = SageMakerBackend(
            _ROLE,
            _BUCKET,
            image=_IMAGE,
            region=_REGION,
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            session=boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]),
            poll_seconds=0.2,
            delay_seconds=0,
            home=setup.folder / "fetched",
        )
        backend.clients("s3").create_bucket(Bucket=_BUCKET)
        search = TuningJob(config, space, strategy="grid", max_parallel_jobs=2, backend=backend, name="scale").run()
        jobs = [Job.attach(trial.name, backend=backend) for trial in search.wait().trials]
        features = [json.loads((job.output / "result.json").read_text())["features"] for job in jobs]
    shutil.rmtree(data)
    computed = sum(each["computed"] for each in features)
    say(f"{len(features)} jobs on {count} images: {[each['computed'] for each in features]} computed")
    what = f"images through the backbone in a grid of {2 * rates} jobs on {count} images"
    goals = [at_most(what, computed, count), at_least(f"{what}, at least", computed, count)]
    return goals, {"images": count, "jobs": features}


@contextmanager
def _emulator(home: Path) -> Iterator[dict[str, str]]:
    """An emulator in a separate process; each job has a cache in its own folder, as on a machine of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "breedclf", "sagemaker", "emulate", "--home", str(home), "--json"],
        env=os.environ | {"BREEDCLF_CACHE_DIR": "cache-of-job"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        text = ""
        for line in process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        yield json.loads(text)["environment"]
    finally:
        process.terminate()
        process.wait()
