"""A process that drives a study of tests `python -m tests.tuning.killable_search FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from breedclf.tuning.search import Search
from breedclf.tuning.study import StudyFolder
from tests.tuning.bookkeeping_runner import BookkeepingRunner, quadratic

if __name__ == "__main__":
    folder = StudyFolder(Path(sys.argv[1]))
    with folder.locked():
        search = Search(folder, BookkeepingRunner(folder.path / "jobs", quadratic), time.monotonic)
        while not search.step().is_over:
            time.sleep(0.01)
