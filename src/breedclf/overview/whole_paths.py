"""Paths in one form, so that the same folder is recognized however it was named."""

from __future__ import annotations

import os
from pathlib import Path

from breedclf.files.s3_uri import is_s3, whole_uri


def whole_path(given: str | Path) -> str:
    """A path, absolute and without `.` and `..`, or an S3 URI."""
    path = Path(given)
    return whole_uri(path) if is_s3(path) else os.path.normpath(path.absolute())
