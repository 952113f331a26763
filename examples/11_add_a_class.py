"""Add a class of 30 images to a trained dataset, and train again: only the new images pass through the backbone.

python examples/11_add_a_class.py --data dogImages --weights resnet50.pth --more otherImages/train/Cat
python examples/11_add_a_class.py                         # synthetic images, random weights, no download
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from breedclf import FitResult, Trainer, TrainingConfig
from breedclf.testing.images import write_image_set

NEW_IMAGES = 30
VALID_IMAGES = 6


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/ and valid/ (default: synthetic images)")
    parser.add_argument("--more", type=Path, help="folder of images of a new class, of which 30 are added")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    arguments = parser.parse_args(argv or None)
    if (arguments.data is None) != (arguments.more is None):
        parser.error("--data and --more go together")

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images"  # a copy, which may grow
        if arguments.data:
            shutil.copytree(arguments.data, data)
            new_class = arguments.more
            config = TrainingConfig(data=data, weights=arguments.weights)
        else:
            write_image_set(data, classes=3, train=24, valid=6, test=0, size_px=96)
            new_class = Path(shutil.move(data / "train" / "003.Triangle", Path(folder) / "004.Triangle"))
            shutil.move(data / "valid" / "003.Triangle", new_class / "more")
            config = TrainingConfig(data=data, architecture="resnet18", weights="none", epochs=6)
            config = config.replace(cache_dir=Path(folder) / "cache")

        show(Trainer(config.replace(output=Path(folder) / "before")).fit())
        add_class(data, new_class.name, sorted(path for path in new_class.rglob("*.jpg"))[:NEW_IMAGES])
        show(Trainer(config.replace(output=Path(folder) / "after")).fit())


def add_class(data: Path, name: str, images: Sequence[Path]) -> None:
    """Copy images of a new class into a dataset, some of them for validation."""
    if not images:
        raise SystemExit("the folder of the new class has no .jpg files")
    for number, image in enumerate(images):
        target = data / ("valid" if number < VALID_IMAGES else "train") / name
        target.mkdir(exist_ok=True)
        shutil.copy2(image, target / f"{number:03}{image.suffix}")
    print(f"added class {name} of {len(images)} images")


def show(result: FitResult) -> None:
    """Print what was computed, and the accuracy."""
    classes, features = len(result.classifier.class_names), result.features
    assert features is not None
    print(
        f"{classes} classes: {features.computed} images through the backbone, {features.reused} with stored features; "
        f"valid accuracy {result.best.valid_accuracy:.0%} in {result.seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
