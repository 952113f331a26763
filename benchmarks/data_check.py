"""Speed of the dataset check compared with decoding alone: the same images and number of threads, interleaved."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks.measuring import DATA, arguments, at_least, interleaved, ratios, report
from breedclf.data_check import check
from breedclf.data_check.listing import list_images

NAMES = ("hymenoptera", "dog-groups")
A_TASK = 16


def main() -> int:
    given = arguments(__doc__)
    folders = [DATA / name for name in NAMES]
    paths = [folder / image.path for folder in folders for image in list_images(folder).images]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def decode(some: list[Path]) -> None:
        for path in some:
            Image.open(BytesIO(path.read_bytes())).convert("RGB")

    def only_decode() -> None:
        tasks = [paths[at : at + A_TASK] for at in range(0, len(paths), A_TASK)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(decode, tasks))

    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary)

        def dataset_check() -> None:
            for folder in folders:
                check(folder, threads=threads, cache_dir=cache, fresh=True, quiet=True)

        only_decode()
        seconds = interleaved({"decoding alone": only_decode, "doctor": dataset_check}, given.repeats)
        again = []
        for _ in range(given.repeats):
            started = time.perf_counter()
            assert all(check(folder, cache_dir=cache, quiet=True).cached for folder in folders)
            again.append(time.perf_counter() - started)
    wall = ratios(seconds["decoding alone"]["wall"], seconds["doctor"]["wall"])
    cpu = ratios(seconds["decoding alone"]["cpu"], seconds["doctor"]["cpu"])
    first = min(seconds["doctor"]["wall"])
    goals = [
        at_least("speed of the dataset check relative to decoding alone, wall clock", wall["median"], 0.85),
        at_least("speed of the dataset check relative to decoding alone, CPU seconds", cpu["median"], 0.85),
        at_least("first check over the second one", first / min(again), 20),
    ]
    details = {"pictures": len(paths), "threads": threads, "seconds": seconds, "second examination": again}
    return report("data_check", goals, details | {"wall": wall, "cpu": cpu}, given)


if __name__ == "__main__":
    sys.exit(main())
