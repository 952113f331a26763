"""Train from a table of paths and labels instead of class folders, and keep the images of each animal together.

python examples/building_on/train_from_csv.py
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

from breedclf import Trainer, TrainingConfig, evaluate
from breedclf.testing.images import write_image_set


def collect(source: Path, folder: Path) -> Path:
    """A flat folder of images beside `images.csv`, as an export from a database may look."""
    folder.mkdir()
    rows: list[dict[str, str]] = []
    for number, image in enumerate(sorted(source.rglob("*.jpg"))):
        shutil.copy(image, folder / f"{number:04}.jpg")
        # Two images of each animal: if they were split apart, the test images would be known already.
        rows.append({"path": f"{number:04}.jpg", "label": image.parent.name, "group": f"animal {number // 2}"})
    table = folder / "images.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "label", "group"])
        writer.writeheader()
        writer.writerows(rows)
    return table


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_image_set(folder / "images", classes=3, train=20, valid=0, test=0)
        table = collect(images, folder / "export")
        config = TrainingConfig(data=table, architecture="resnet18", weights="none", output=folder / "run")
        result = Trainer(config).fit()
        print(f"{len(result.history)} epochs, best valid loss {result.best.valid_loss:.3f}")
        measured = evaluate(result.artifact, table)
        print(f"test accuracy {measured.accuracy:.0%} of {measured.count} images")


if __name__ == "__main__":
    main()
