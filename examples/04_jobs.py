"""Train in a job that outlives the process that submitted it; fetch the model and predict in another process.

python examples/04_jobs.py --data dogImages --weights resnet50.pth
python examples/04_jobs.py                                     # synthetic images, random weights, no download
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from breedclf.testing.images import write_image_set

# Each of these runs in a separate Python process, like two sessions of a notebook.
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

home, image = sys.argv[1:]
job = Job.attach("my-job", backend=LocalBackend(home)).wait(progress=True)
print(f"{job.name} is {job.status}, best valid loss {job.metrics['best_valid_loss']:.3f}")
for guess in Classifier(job.artifact).predict(image).top(3):
    print(f"{guess.probability:6.1%}  {guess.class_name}")
"""


def python(program: str, *arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        data, weights, architecture = arguments.data, arguments.weights, "resnet50"
        if data is None:
            data = write_image_set(Path(folder) / "images", train=8, valid=4, test=1)
            weights, architecture = "none", "resnet18"
        home = Path(folder) / "jobs"
        python(SUBMIT, home, data, weights, architecture)
        python(FETCH, home, next((data / "test").rglob("*.jpg")))


if __name__ == "__main__":
    main()
