"""Search learning rate, batch size and number of epochs; keep the best model and a report.

python examples/03_tune.py --data dogImages --weights resnet50.pth
python examples/03_tune.py                                     # synthetic images, random weights, no download
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Categorical, TrainingConfig, TuningJob
from breedclf.testing.images import write_image_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    parser.add_argument("--output", type=Path, help="folder to keep the search in (default: a temporary folder)")
    arguments = parser.parse_args()

    space = {
        "learning_rate": Categorical(0.005, 0.0075, 0.01),
        "batch_size": Categorical(32, 64),
        "epochs": Categorical(2, 3),
    }
    with tempfile.TemporaryDirectory() as folder:
        output = arguments.output or Path(folder) / "search"
        if arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights)
        else:
            generated = write_image_set(Path(folder) / "images", train=8, valid=4, test=0)
            config = TrainingConfig(data=generated, architecture="resnet18", weights="none")

        tuning = TuningJob(config, space, strategy="grid", home=output).run(progress=True)
        for row in tuning.rows():
            print(row["TrainingJobName"], row["TrainingJobStatus"], row["FinalObjectiveValue"])
        best = tuning.best
        print("best:", best.hyperparameters, "valid loss", round(best.objective, 4))
        print("model:", best.artifact)
        print("report:", tuning.report(output / "tuning.html"))


if __name__ == "__main__":
    main()
