"""Dog breeds on SageMaker: upload, tune, debug and profile, deploy, predict, clean up; here over the emulator.

python examples/09_sagemaker.py --data dogImages --weights resnet50.pth
python examples/09_sagemaker.py                                # drawn pictures, random weights, nothing downloaded

On AWS the same runs with one line changed: `place = on_aws()` in `main`, and it costs some dollars at most.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from breedclf import Categorical, Deployment, ProfilingSession, S3Dataset, SageMakerBackend, TrainingConfig, TuningJob
from breedclf.testing.pictures import write_picture_set


@contextlib.contextmanager
def on_aws() -> Iterator[SageMakerBackend]:
    """Your account, by the credentials of this machine; `breedclf sagemaker policy` prints what they need."""
    yield SageMakerBackend(role="arn:aws:iam::111122223333:role/breedclf", bucket="my-bucket", max_cost=20)


@contextlib.contextmanager
def emulated(home: Path) -> Iterator[SageMakerBackend]:
    """SageMaker's stand-in on this machine, which really runs the jobs; no account, no costs."""
    from breedclf import LocalBackend
    from breedclf.backends.emulator.server import emulator

    with emulator(LocalBackend(home / "emulator")) as running:
        backend = SageMakerBackend(
            role="arn:aws:iam::123456789012:role/breedclf",
            bucket="dog-breeds",
            session=running.session(),
            endpoint_url=running.url,
            serving_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/dog-breeds:1",
            poll_seconds=0.2,
            home=home / "fetched",
        )
        backend.clients("s3").create_bucket(Bucket="dog-breeds")
        yield backend


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: drawn pictures)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="a name, or a file with a ResNet-50's state dict")
    parser.add_argument("--output", type=Path, help="folder that keeps the reports (default: thrown away at the end)")
    arguments = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        data, weights, architecture = arguments.data, arguments.weights, "resnet50"
        if data is None:
            data = write_picture_set(Path(folder) / "pictures", classes=2, train=6, valid=3, test=2, size_px=64)
            weights, architecture = "none", "resnet18"
        output = arguments.output or Path(folder) / "reports"

        place = emulated(Path(folder))
        with place as backend:
            journey(backend, data, TrainingConfig(data=data, weights=weights, architecture=architecture), output)


def journey(backend: SageMakerBackend, data: Path, config: TrainingConfig, output: Path) -> None:
    """Everything, in the order in which a project meets it."""
    dataset = S3Dataset.upload(data, backend.uri("data", "dogs"), backend=backend)
    print(f"{dataset.uri}: {len(dataset.manifest.files)} files, sent {dataset.sent_files}, verified")
    config = config.replace(data=dataset.uri)

    space = {"learning_rate": Categorical(0.005, 0.01), "epochs": Categorical(2)}
    tuning = TuningJob(config, space, strategy="grid", max_parallel_jobs=2, max_seconds_per_job=3_600, backend=backend)
    tuning.run().wait()
    for row in tuning.rows():
        print(row["TrainingJobName"], row["TrainingJobStatus"], row["FinalObjectiveValue"])
    best = tuning.best
    print("best:", best.hyperparameters, "valid loss", round(best.objective, 4))

    session = ProfilingSession(config.replace(**best.hyperparameters), backend=backend).run()
    issues = [finding.rule for finding in session.findings if finding.status == "issue"]
    print(f"debugger and profiler: {len(session.findings)} rules, issues: {', '.join(issues) or 'none'}")
    print("report:", session.report(output / "report.html").name)

    with Deployment(best.artifact, backend=backend, name="dog-breeds", ttl=3_600).deploy() as endpoint:
        for picture in sorted(path for path in (data / "test").rglob("*") if path.is_file())[:3]:
            found = endpoint.predict(picture).best
            print(f"{picture.parent.name}/{picture.name}: {found.class_name}, {found.probability:.0%}")
    print("endpoints left:", [each.name for each in backend.list_endpoints()])

    for job in backend.list_jobs():
        backend.delete(job.name)
    print("objects deleted:", backend.storage.delete(backend.uri()))
    print("jobs left:", [job.name for job in backend.list_jobs()])


if __name__ == "__main__":
    main(*sys.argv[1:])
