"""Train the head, then the head with layer4, at learning rates from the finder and the docs; compare.

python examples/07_fine_tune.py --data dogImages --weights resnet50.pth
python examples/07_fine_tune.py                              # synthetic images, random weights, no download
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Trainer, TrainingConfig
from breedclf.testing.images import write_image_set


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    parser.add_argument("--epochs", type=int, default=3, help="epochs per run (default: 3)")
    arguments = parser.parse_args(argv or None)

    with tempfile.TemporaryDirectory() as folder:
        if arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights, epochs=arguments.epochs)
        else:
            generated = write_image_set(Path(folder) / "images", classes=3, train=6, valid=3, test=0, size_px=96)
            config = TrainingConfig(data=generated, architecture="resnet18", weights="none", epochs=2, batch_size=8)

        curve = Trainer(config).find_learning_rate(steps=40)
        print(f"the head's loss falls fastest at a learning rate of {curve.suggestion:.2g}")

        # Pretrained layers need a far lower rate than a new head; breedclf warns about rates above 1e-3.
        policies = {
            "head": config,
            "layer4": config.replace(freeze="layer4", backbone_learning_rate=1e-4, label_smoothing=0.1),
        }
        for name, policy in policies.items():
            result = Trainer(policy.replace(output=Path(folder) / name)).fit()
            best = result.best
            print(
                f"{name}: valid accuracy {best.valid_accuracy:.0%}, loss {best.valid_loss:.3f} in epoch {best.epoch} "
                f"({result.seconds:.0f} s)"
            )


if __name__ == "__main__":
    main()
