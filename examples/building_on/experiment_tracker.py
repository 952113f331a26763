"""Send a training run to an experiment tracker: a hook in the manner of Weights & Biases, MLflow or Comet.

python examples/building_on/experiment_tracker.py

`Tracker` has the three methods that such services share; `wandb.init(project=...)` returns an object with all of them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch

from breedclf import EpochRecord, FitResult, StepRecord, Trainer, TrainingConfig, TrainingPlan, ValidPredictions
from breedclf.testing.images import write_image_set


class Tracker(Protocol):
    """What this hook needs of a service."""

    def log(self, data: Mapping[str, object], step: int | None = None) -> None: ...

    def finish(self, exit_code: int | None = None) -> None: ...


class FileTracker:
    """A tracker that appends JSON lines to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def log(self, data: Mapping[str, object], step: int | None = None) -> None:
        self._file.write(json.dumps({"step": step, **data}) + "\n")

    def finish(self, exit_code: int | None = None) -> None:
        self.log({"finished": True, "exit_code": exit_code})
        self._file.close()


class TrackerHook:
    """Logs settings, epochs, the accuracy of each class, and how the run ended; every method of a hook is optional."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._images = 0
        self._failed = False

    def on_start(self, plan: TrainingPlan) -> None:
        self._tracker.log({"config": plan.config.to_dict(), "classes": len(plan.labels)}, step=0)

    def on_step(self, step: StepRecord) -> None:
        self._images += step.images

    def on_epoch(self, epoch: EpochRecord) -> None:
        self._tracker.log({f"epoch/{name}": value for name, value in epoch.to_dict().items()}, step=self._images)

    def on_valid(self, epoch: EpochRecord, valid: ValidPredictions) -> None:
        """Called because this hook has it: the probabilities of all validation images after each epoch."""
        correct = valid.probabilities.argmax(1) == valid.targets
        for index, label in enumerate(valid.labels):
            share = correct[valid.targets == index].to(torch.float32).mean().item()
            self._tracker.log({f"accuracy/{label}": share, "epoch": epoch.epoch}, step=self._images)

    def on_end(self, result: FitResult) -> None:
        self._tracker.log({"best_epoch": result.best_epoch, "seconds": result.seconds}, step=self._images)

    def on_failure(self, error: BaseException) -> None:
        self._failed = True
        self._tracker.log({"error": f"{type(error).__name__}: {error}"}, step=self._images)

    def close(self) -> None:
        """Called once in every case, as the last of all."""
        self._tracker.finish(exit_code=int(self._failed))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_image_set(folder / "images", train=8, valid=4, test=0)
        config = TrainingConfig(data=data, architecture="resnet18", weights="none", output=folder / "run")
        log = folder / "tracked.jsonl"
        Trainer(config).fit(hooks=[TrackerHook(FileTracker(log))])
        print(*log.read_text(encoding="utf-8").splitlines()[1:], sep="\n")


if __name__ == "__main__":
    main()
