"""Train on an image folder, print the history, and predict some test images.

python examples/01_train_and_predict.py --data dogImages       # your images, ImageNet weights
python examples/01_train_and_predict.py                        # synthetic images, random weights, no download
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.testing.images import write_image_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        if arguments.data:
            data: Path = arguments.data
            config = TrainingConfig(data=data, weights=arguments.weights, output=output)
        else:
            data = write_image_set(Path(folder) / "images", train=8, valid=4, test=4)
            config = TrainingConfig(
                data=data,
                architecture="resnet18",
                weights="none",
                epochs=10,
                objective="valid_accuracy",
                output=output,
            )

        result = Trainer(config).fit()
        for epoch in result.history:
            print(f"epoch {epoch.epoch}: loss {epoch.valid_loss:.3f}, accuracy {epoch.valid_accuracy:.0%} on valid")
        print(f"best epoch: {result.best_epoch}; model directory: {result.artifact.name}/")

        # From here on, only the model directory is needed; another process or machine could run this part.
        classifier = Classifier(result.artifact)
        images = sorted((data / "test").rglob("*.jpg"))[:3]
        for image, prediction in zip(images, classifier.predict(images), strict=True):
            guesses = ", ".join(f"{guess.class_name} {guess.probability:.0%}" for guess in prediction.top(3))
            print(f"{image.parent.name}/{image.name}: {guesses}")


if __name__ == "__main__":
    main()
