"""Dog breeds on SageMaker: upload, tune, train with debugger and profiler, deploy, predict, clean up.

It runs on the emulator, without an account:

python examples/09_sagemaker.py --data dogImages --weights resnet50.pth
python examples/09_sagemaker.py                                # synthetic images, random weights, no download
python examples/09_sagemaker.py --python image/bin/python      # run jobs with SageMaker's toolkits

To run it on AWS, change one line in `main` to `selected = on_aws()`. It costs a few dollars at most.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

from breedclf import (
    Categorical,
    Continuous,
    Deployment,
    Job,
    LocalBackend,
    ProfilingSession,
    S3Dataset,
    SageMakerBackend,
    Trainer,
    TrainingConfig,
    TuningJob,
)
from breedclf.testing.images import write_image_set
from breedclf.tuning.table import trial_table

PREFIX = "breedclf/example-09"  # everything that this script writes is below it, and deleted at the end


@contextlib.contextmanager
def on_aws() -> Generator[SageMakerBackend]:
    """Your account, with this machine's credentials; `breedclf sagemaker policy` prints the permissions they need."""
    account = "arn:aws:iam::111122223333"
    yield SageMakerBackend(
        role=f"{account}:role/breedclf",
        endpoint_end_role=f"{account}:role/breedclf-end",  # lets AWS delete the endpoint after its time to live
        bucket="my-bucket",
        prefix=PREFIX,
        max_cost=20,
        debugger=True,
    )


@contextlib.contextmanager
def emulated(home: Path, python: Path | None) -> Generator[SageMakerBackend]:
    """SageMaker's emulator on this machine, which really runs the jobs, without an account or costs."""
    from breedclf.backends.emulator.server import emulator

    with emulator(LocalBackend(home / "emulator", python=python)) as running:
        backend = SageMakerBackend(
            role="arn:aws:iam::123456789012:role/breedclf",
            endpoint_end_role="arn:aws:iam::123456789012:role/breedclf-end",
            bucket="dog-breeds",
            prefix=PREFIX,
            session=running.session(),
            endpoint_url=running.url,
            serving_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/dog-breeds:1",
            debugger=True,
            poll_seconds=0.2,
            delay_seconds=0,  # the emulator's logs and metrics aren't delayed
            home=home / "fetched",
        )
        backend.clients("s3").create_bucket(Bucket="dog-breeds")
        yield backend


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    parser.add_argument("--output", type=Path, help="folder to keep the reports in (default: a temporary folder)")
    parser.add_argument("--max-jobs", type=int, default=4, help="training jobs of the tuning job (default: 4)")
    parser.add_argument("--python", type=Path, help="interpreter for the emulated images (default: this one)")
    arguments = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        if arguments.data:
            data = arguments.data
            config = TrainingConfig(data=data, weights=arguments.weights)
        else:
            data = write_image_set(Path(folder) / "images", classes=2, train=6, valid=3, test=2, size_px=64)
            config = TrainingConfig(data=data, weights="none", architecture="resnet18")
        output = arguments.output or Path(folder) / "reports"

        selected = emulated(Path(folder), arguments.python)
        with selected as backend:
            config = upload(backend, data, config)
            best = tune(backend, config, arguments.max_jobs)
            job = train(backend, config.replace(**best))
            show_report(ProfilingSession.attach(job, backend=backend), output)
            deploy(backend, job, data)
            clean_up(backend)


def upload(backend: SageMakerBackend, data: Path, config: TrainingConfig) -> TrainingConfig:
    """Upload the images to S3, and return settings that read them from there."""
    title("Upload")
    dataset = S3Dataset.upload(data, backend.uri("data", "dogs"), backend=backend)
    print(f"{dataset.uri}: {len(dataset.manifest.files)} files, sent {dataset.sent_files}, verified")
    return config.replace(data=dataset.uri)


def tune(backend: SageMakerBackend, config: TrainingConfig, max_jobs: int) -> dict[str, Any]:
    """Run a tuning job and return its best hyperparameters."""
    title("Tune")
    space = {"learning_rate": Continuous(0.005, 0.01), "batch_size": Categorical(32, 64), "epochs": Categorical(2, 3)}
    tuning = TuningJob(
        config, space, max_jobs=max_jobs, max_parallel_jobs=min(2, max_jobs), max_seconds_per_job=3_600, backend=backend
    )
    tuning.run().wait()
    print(trial_table(tuning.study))
    best = tuning.best
    print(f"best: {best.hyperparameters}, valid loss {best.objective:.4f}")
    return dict(best.hyperparameters)


def train(backend: SageMakerBackend, config: TrainingConfig) -> Job:
    """Train with the best hyperparameters, under the debugger and the profiler."""
    title("Train, debug and profile")
    job = Trainer(config.replace(profile="full"), backend=backend).submit(max_runtime_seconds=3_600)
    request = backend.clients("sagemaker").describe_training_job(TrainingJobName=job.name)
    print("profiler:", request["ProfilerConfig"])
    print(
        "debugger saves:", [each["CollectionName"] for each in request["DebugHookConfig"]["CollectionConfigurations"]]
    )
    for line in job.logs(follow=True):  # as lines arrive, until the job ends
        if line.startswith("breedclf-metrics") and '"epoch"' in line:
            values = json.loads(line.removeprefix("breedclf-metrics"))
            print("log:", ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
    job.wait()  # raises an error with the reason if the job failed
    for rule in [rule for kind in ("profiler_rules", "debug_rules") for rule in job.describe().details[kind]]:
        print(f"rule: {rule['rule']:<24} {rule['status']} {rule['message']}")
    return job


def show_report(session: ProfilingSession, output: Path) -> None:
    """Print the findings of breedclf's own rules, which don't need Debugger."""
    title("Findings")
    print(", ".join(f"{count} {status}" for status, count in Counter(each.status for each in session.findings).items()))
    for finding in session.findings:
        if finding.status == "issue":
            print(f"{finding.rule}: {finding.evidence}\n  -> {finding.advice}")
    print("report:", session.report(output / "report.html").name)


def deploy(backend: SageMakerBackend, job: Job, data: Path) -> None:
    """Deploy an endpoint, predict some test images, and delete it, also after an error."""
    title("Deploy and predict")
    with Deployment(job.artifact, backend=backend, name="dog-breeds", ttl_seconds=3_600).deploy() as endpoint:
        for image in sorted(path for path in (data / "test").rglob("*") if path.is_file())[:3]:
            ranked = ", ".join(f"{each.class_name} {each.probability:.0%}" for each in endpoint.predict(image).top(3))
            print(f"{image.parent.name}/{image.name}: {ranked}")


def clean_up(backend: SageMakerBackend) -> None:
    """Delete everything that this script created, and nothing else in the account."""
    title("Clean up")
    print("endpoints left:", [each.name for each in backend.list_endpoints()])
    for job in [job for job in backend.list_jobs() if job.details["output"].startswith(backend.uri())]:
        backend.delete(job.name)
    print("objects deleted:", backend.storage.delete(backend.uri()))
    print("jobs left:", [job.name for job in backend.list_jobs()])


def title(text: str) -> None:
    """Print a heading, unbuffered."""
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
