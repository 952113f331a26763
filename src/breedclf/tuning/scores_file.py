"""The file with the objective of each validation image, which a run with another seed writes into its output."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from breedclf.files.disk import write_atomic

log: logging.Logger = logging.getLogger(__name__)

SCORES_VARIABLE = "BREEDCLF_VALID_SCORES"
"""The environment variable that asks a job for its scores."""

_FILE = Path("tuning") / "valid_scores.json"


def write_scores(folder: Path, scores: Sequence[float]) -> None:
    """Write the scores below the output folder of a run."""
    file = folder / _FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(list(scores)))


def read_scores(folder: Path) -> list[float] | None:
    """The scores below the output folder of a run; None if there are none that can be used."""
    try:
        scores = [float(value) for value in json.loads((folder / _FILE).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        log.warning("%s can't be read, so this run isn't compared: %s", folder / _FILE, error)
        return None
    return scores if scores and all(map(math.isfinite, scores)) else None
