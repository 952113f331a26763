"""Train as a job, close Python, come back in another Python and predict; the job doesn't notice.

python examples/02_jobs.py dogImages dog.jpg

The two halves are processes of their own, as two sessions of a notebook would be:

python examples/02_jobs.py submit my-job dogImages IMAGENET1K_V1
python examples/02_jobs.py fetch my-job dog.jpg
"""

from __future__ import annotations

import subprocess
import sys

from breedclf import Classifier, Job, LocalBackend, Trainer, TrainingConfig
from breedclf.jobs import new_name


def submit(name: str, data: str, weights: str, architecture: str) -> None:
    """Start the job and return at once."""
    config = TrainingConfig(data=data, weights=weights, architecture=architecture)
    job = Trainer(config, backend=LocalBackend()).submit(name=name)
    print(f"{job.name} is {job.status}")


def fetch(name: str, picture: str) -> None:
    """Find the job by its name, wait for it, and use its model."""
    job = Job.attach(name, backend=LocalBackend()).wait(progress=True)
    print("metrics:", job.metrics)
    for breed in Classifier(job.artifact).predict(picture).top(3):
        print(f"{breed.probability:6.1%}  {breed.class_name}")


def main(data: str, picture: str, weights: str = "IMAGENET1K_V1", architecture: str = "resnet50") -> None:
    """Both halves, each in a Python of its own."""
    name = new_name("example")
    subprocess.run([sys.executable, __file__, "submit", name, data, weights, architecture], check=True)
    subprocess.run([sys.executable, __file__, "fetch", name, picture], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["submit", name, data, weights, *rest]:
            submit(name, data, weights, rest[0] if rest else "resnet50")
        case ["fetch", name, picture]:
            fetch(name, picture)
        case [data, picture, *rest]:
            main(data, picture, *rest)
        case _:
            sys.exit(__doc__)
