"""Train as a job, close Python, come back in another Python and predict; the job doesn't notice.

python examples/04_jobs.py --data dogImages --weights resnet50.pth
python examples/04_jobs.py                                     # drawn pictures, random weights, nothing downloaded
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from breedclf.testing.images import write_image_set

# Each of these is a Python of its own, as two sessions of a notebook would be.
SUBMIT = """
import sys
from breedclf import LocalBackend, Trainer, TrainingConfig

home, data, weights, architecture = sys.argv[1:]
config = TrainingConfig(data=data, weights=weights, architecture=architecture)
job = Trainer(config, backend=LocalBackend(home)).submit(name="my-job")
print(f"{job.name} is {job.status}", flush=True)
"""
FETCH = """
import sys
from breedclf import Classifier, Job, LocalBackend

home, picture = sys.argv[1:]
job = Job.attach("my-job", backend=LocalBackend(home)).wait(progress=True)
print(f"{job.name} is {job.status}, best valid loss {job.metrics['best_valid_loss']:.3f}")
for breed in Classifier(job.artifact).predict(picture).top(3):
    print(f"{breed.probability:6.1%}  {breed.class_name}")
"""


def python(program: str, *arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: drawn pictures)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="a name, or a file with a ResNet-50's state dict")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        data, weights, architecture = arguments.data, arguments.weights, "resnet50"
        if data is None:
            data = write_image_set(Path(folder) / "pictures", train=8, valid=4, test=1)
            weights, architecture = "none", "resnet18"
        home = Path(folder) / "jobs"
        python(SUBMIT, home, data, weights, architecture)
        python(FETCH, home, next((data / "test").rglob("*.jpg")))


if __name__ == "__main__":
    main()
