"""Continue a trained model: new photos arrive, with a class that the model doesn't know yet.

python examples/10_continue.py --model runs/dogs --data newPhotos
python examples/10_continue.py                            # synthetic images, random weights, no download
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from breedclf import FitResult, Trainer, TrainingConfig, evaluate
from breedclf.testing.images import write_image_set


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory, or the output folder of its run")
    parser.add_argument("--data", type=Path, help="folder with train/ and valid/ of new images")
    arguments = parser.parse_args(argv or None)

    with tempfile.TemporaryDirectory() as folder:
        if arguments.model and arguments.data:
            show(continued(arguments.model, arguments.data, Path(folder) / "new"))
            return
        new_images = write_image_set(Path(folder) / "new-images", classes=3, train=16, valid=6, test=6, size_px=96)
        old_images = shutil.copytree(new_images, Path(folder) / "old-images")
        for split in old_images.iterdir():
            shutil.rmtree(max(split.iterdir()))  # the third class comes later

        config = TrainingConfig(data=old_images, architecture="resnet18", weights="none", epochs=6)
        old = Trainer(config.replace(output=Path(folder) / "old")).fit()
        new = continued(old.artifact, new_images, Path(folder) / "new")
        show(new)
        for name, model in (("old", old), ("new", new)):
            measured = evaluate(model.artifact, old_images, output=Path(folder) / f"{name}-report")
            print(f"the {name} model on the old test images: {measured.accuracy:.0%} of {measured.count}")


def continued(model: Path, data: Path, output: Path) -> FitResult:
    """Continue a model on a dataset."""
    return Trainer(TrainingConfig(data=data, start_from=model, epochs=6, output=output)).fit()


def show(result: FitResult) -> None:
    """Print what became of the classes, and accuracy before and after."""
    start, before = result.classifier.card.start_from, result.before
    assert start is not None and before is not None
    print(f"kept {', '.join(start.kept)}; new {', '.join(start.new) or 'none'}")
    print(f"valid accuracy {before.valid_accuracy:.0%} before, {result.best.valid_accuracy:.0%} after")


if __name__ == "__main__":
    main()
