"""The files that released versions wrote."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

ARCHIVES = sorted(Path(__file__).with_name("files").glob("*.tar.xz"))


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a version wrote, somewhere else than where it was written."""
    folder = tmp_path_factory.mktemp("written")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder / "files"
