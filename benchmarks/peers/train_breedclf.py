"""breedclf, with a cold cache."""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.peers.training import Judge, Task, Train, run
from breedclf import Trainer, TrainingConfig
from breedclf.data.image_folder import scan


def prepare(task: Task) -> Train:
    home = tempfile.mkdtemp(dir=task.scratch)
    settings: dict[str, Any] = {"precision": "auto" if task.precision == "shipped" else task.precision}
    if task.trainable == "all":
        settings |= {"freeze": "none", "backbone_learning_rate": task.learning_rate, "augment": "none"}
    config = TrainingConfig(
        data=task.data,
        architecture=task.network_name,
        weights="none" if task.weights is None else str(task.weights),
        epochs=task.epochs,
        batch_size=task.batch,
        learning_rate=task.learning_rate,
        seed=task.seed,
        cache_dir=f"{home}/cache",
        output=f"{home}/out",
        **settings,
    )
    test = scan(task.data).split("test")

    def train() -> Judge:
        classifier = Trainer(config).fit().classifier

        def judge() -> dict[str, int]:
            guesses = (
                classifier.probabilities([test.images.read(index) for index in range(len(test))]).argmax(1).tolist()
            )
            return {"right": sum(map(int.__eq__, guesses, test.targets)), "of": len(test)}

        return judge

    return train


if __name__ == "__main__":
    run(prepare)
