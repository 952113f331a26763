"""Train on a folder of pictures, see how it went, and ask what is in one of them.

python examples/01_train_and_predict.py --data dogImages       # your photographs, ImageNet weights
python examples/01_train_and_predict.py                        # drawn pictures, random weights, nothing downloaded
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.testing.images import write_image_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: drawn pictures)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="a name, or a file with a ResNet-50's state dict")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        if arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights, output=output)
        else:
            drawn = write_image_set(Path(folder) / "pictures", train=8, valid=4, test=4)
            config = TrainingConfig(
                data=drawn,
                architecture="resnet18",
                weights="none",
                epochs=10,
                objective="valid_accuracy",
                output=output,
            )

        result = Trainer(config).fit()
        for epoch in result.history:
            print(f"epoch {epoch.epoch}: loss {epoch.valid_loss:.3f}, accuracy {epoch.valid_accuracy:.0%} on valid")
        print(f"the best was epoch {result.best_epoch}; the model folder is {result.artifact.name}/")

        # From here on only the model folder is needed: another process, or another machine, would do the same.
        classifier = Classifier(result.artifact)
        pictures = sorted((config.data / "test").rglob("*.jpg"))[:3]
        for picture, prediction in zip(pictures, classifier.predict(pictures), strict=True):
            guesses = ", ".join(f"{guess.class_name} {guess.probability:.0%}" for guess in prediction.top(3))
            print(f"{picture.parent.name}/{picture.name}: {guesses}")


if __name__ == "__main__":
    main()
