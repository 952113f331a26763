"""A few images of each dataset, for `--quick`: linked, so that nothing is copied."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

CLASSES = 5
IMAGES = {"train": 4, "valid": 2, "test": 2}
"""Per class and split, at most."""


def link_few_images(data: Path, folder: Path) -> Path:
    """Make `folder` like `data`, with the first classes of each dataset and the first images of each class."""
    folder.mkdir()
    for entry in sorted(path for path in data.iterdir() if path.is_dir()):
        if (entry / "train").is_dir():
            for split, count in IMAGES.items():
                for label in sorted(path for path in (entry / split).iterdir() if path.is_dir())[:CLASSES]:
                    link(sorted(label.iterdir())[:count], folder / entry.name / split / label.name)
        else:
            (folder / entry.name).symlink_to(entry.resolve(), target_is_directory=True)
    return folder


def link(files: Iterable[Path], folder: Path) -> None:
    """Link to files from a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
