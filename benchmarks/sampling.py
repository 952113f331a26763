"""Where a command of breedclf spends its time: its main thread's calls, looked up every few milliseconds."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import psutil

IMPORTS, READING, NETWORK, HEAD, WRITING, OTHER = PARTS = ("imports", "reading", "network", "head", "writing", "other")
INTERVAL_SECONDS = 0.004
# The innermost call that is listed decides; a function's line comes before its folder's.
CALLS = {
    ("features/extraction.py", "_check_finite"): NETWORK,
    ("features/extraction.py", "stream"): NETWORK,
    ("features/extraction.py", "_shape"): NETWORK,
    ("features/store_access.py", ""): READING,
    ("features/store/", ""): WRITING,
    ("features/", ""): READING,
    ("data/", ""): READING,
    ("data_check/", ""): READING,
    ("models/head.py", ""): HEAD,
    ("models/whitening.py", ""): HEAD,
    ("models/", ""): NETWORK,
    ("training/results/", ""): WRITING,
    ("training/checkpoints/", ""): WRITING,
    ("inference/model_directory.py", ""): WRITING,
    ("inference/readme/", ""): WRITING,
    ("inference/classifier.py", ""): NETWORK,
    ("inference/batches.py", ""): READING,
    ("training/", ""): HEAD,
    ("reporting/", ""): WRITING,
    ("tuning/report", ""): WRITING,
}


def part_of(frame: FrameType | None, package: str) -> str:
    """The part that a call belongs to, by the innermost listed function among it and its callers."""
    found = OTHER
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return IMPORTS
        if found is OTHER and file.startswith(package):
            found = _listed(file.removeprefix(package), frame.f_code.co_name)
        frame = frame.f_back
    return found


def _listed(file: str, function: str) -> str:
    for (place, name), part in CALLS.items():
        if file.startswith(place) and (not name or name == function):
            return part
    return OTHER


class Sampler:
    """Adds up the main thread's seconds by part, from the start of the process."""

    def __init__(self) -> None:
        import breedclf

        self._package = f"{Path(breedclf.__file__).parent}{os.sep}"
        self._main = threading.get_ident()
        self._last = time.time()
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.seconds[IMPORTS] = self._last - psutil.Process().create_time()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL_SECONDS)
            part = part_of(sys._current_frames().get(self._main), self._package)
            now = time.time()
            self.seconds[part] += now - self._last
            self._last = now


def main() -> None:
    """Run a command, `FILE WORDS...`, and write the seconds of its parts to the file."""
    sampler = Sampler()
    from breedclf.cli import main as command

    code = command(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(sampler.seconds), encoding="utf-8")
    sys.exit(code)


if __name__ == "__main__":
    main()
