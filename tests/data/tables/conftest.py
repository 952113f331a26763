"""Tables over small image files that needn't be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

Write = Callable[..., Path]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with `cat0.jpg` to `cat9.jpg` and `dog0.jpg` to `dog9.jpg`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for label in ("cat", "dog"):
        for number in range(10):
            (folder / f"{label}{number}.jpg").write_bytes(f"{label}{number}".encode())
    return folder


@pytest.fixture
def table(images: Path) -> Write:
    """Writes a table beside the images, from text or from rows."""

    def write(content: str | bytes | Iterable[str], name: str = "images.csv") -> Path:
        path = images / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else "\n".join(content) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def rows() -> list[str]:
    """A header and a row for each image: path and label."""
    return ["path,label", *(f"{label}{number}.jpg,{label}" for label in ("cat", "dog") for number in range(10))]
