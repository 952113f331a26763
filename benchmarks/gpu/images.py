"""Generated JPEGs of two sizes, with as much detail as photos, in ten classes."""

from __future__ import annotations

from benchmarks.gpu.notes import Notes, Setup
from benchmarks.scale.images import CLASSES, write_images

SMALL_PX, LARGE_PX = (500, 400), (2000, 1500)


def run(setup: Setup, notes: Notes) -> None:
    sizes = setup.sizes
    write_images(setup.images, {"train": sizes.images, "valid": CLASSES}, size=SMALL_PX)
    write_images(setup.large_images, {"train": sizes.large_images}, size=LARGE_PX)
    for name, folder in (("500x400", setup.images), ("2000x1500", setup.large_images)):
        files = [path.stat().st_size for path in (folder / "train").rglob("*.jpg")]
        notes[name] = {"images": len(files), "mean_bytes": sum(files) / len(files)}
