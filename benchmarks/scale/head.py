"""A head on more features than are loaded into memory."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks.out_of_core import IMAGES, out_of_core
from benchmarks.scale.runs import Setup


def head(setup: Setup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The benchmark `out_of_core`, with as many repeats as the others."""
    folder = setup.folder / "out-of-core"
    folder.mkdir()
    found = out_of_core(folder, setup.images(IMAGES, 2_000), setup.repeats)
    shutil.rmtree(folder)
    return found
