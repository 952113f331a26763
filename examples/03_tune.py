"""Search the learning rate, the batch size and the number of epochs; keep the best model and a page about the search.

python examples/03_tune.py dogImages
"""

from __future__ import annotations

import sys

from breedclf import Categorical, TrainingConfig, TuningJob


def main(data: str = "dogImages", weights: str = "IMAGENET1K_V1", output: str = "runs/tuned") -> None:
    space = {
        "learning_rate": Categorical(0.005, 0.0075, 0.01),
        "batch_size": Categorical(32, 64),
        "epochs": Categorical(2, 3),
    }
    tuning = TuningJob(TrainingConfig(data=data, weights=weights), space, strategy="grid").run(progress=True)

    for row in tuning.rows():
        print(row["TrainingJobName"], row["TrainingJobStatus"], row["FinalObjectiveValue"])
    best = tuning.best
    print("best:", best.hyperparameters, "valid loss", best.objective)
    print("model:", best.artifact)
    print("report:", tuning.report(f"{output}/tuning.html"))


if __name__ == "__main__":
    main(*sys.argv[1:])
