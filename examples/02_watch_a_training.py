"""Hear of every epoch while a training runs, and compare two kinds of last layer on the same features.

python examples/02_watch_a_training.py --data dogImages --weights resnet50.pth
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Trainer, TrainingConfig
from breedclf.testing.images import write_image_set
from breedclf.training.hooks import EpochRecord, TrainingHook, TrainingPlan


class BestSoFar(TrainingHook):
    """Prints an epoch only when it is better than all before."""

    def __init__(self) -> None:
        self.best_loss = float("inf")

    def on_start(self, plan: TrainingPlan) -> None:
        print(f"{plan.config.head} head, {plan.train_count} pictures, {len(plan.labels)} classes, on {plan.device}")

    def on_epoch(self, epoch: EpochRecord) -> None:
        if epoch.valid_loss < self.best_loss:
            self.best_loss = epoch.valid_loss
            print(f"  epoch {epoch.epoch}: valid loss {epoch.valid_loss:.4f}, accuracy {epoch.valid_accuracy:.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: drawn pictures)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="a name, or a file with a ResNet-50's state dict")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        if arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights)
        else:
            drawn = write_image_set(Path(folder) / "pictures", train=8, valid=4, test=0)
            config = TrainingConfig(data=drawn, architecture="resnet18", weights="none")
        # The second training finds the features of the first, so that only the last layer is computed.
        for head in ("standardized", "linear"):
            Trainer(config.replace(head=head, output=Path(folder) / head)).fit(hooks=[BestSoFar()])


if __name__ == "__main__":
    main()
