"""Run as a program: writers of one set, killed at random moments, and what they leave.

Arguments: the folder of the set, the number of rounds, and the number of writers at once. It writes the number of
images that are stored at the end, or ends with an error.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import torch

from breedclf.features.store.feature_set import FeatureSet
from tests.features.store.examples import SPEC, digests_of, features_of

AT_A_TIME = 64
SIZE = 512
IMAGES_PER_WRITER = 1_000_000


def write(folder: Path, first: int, reports: int) -> None:
    """Append features forever; after each append, the number of the last image is reported."""
    with FeatureSet(folder, SPEC) as opened:
        for start in itertools.count(first, AT_A_TIME):
            numbers = range(start, start + AT_A_TIME)
            opened.append(digests_of(numbers), features_of(numbers, SIZE))
            os.write(reports, f"{numbers.stop} ".encode())


def main() -> None:
    """Check after each round that what was reported is there, and at most one append more of each writer."""
    folder, rounds, writers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    logging.basicConfig(format="%(message)s")
    torch.set_num_threads(1)
    chance, ends = random.Random(0), [writer * IMAGES_PER_WRITER for writer in range(writers)]
    for _ in range(rounds):
        children = []
        for first in ends:
            reports, report = os.pipe()
            child = os.fork()
            if not child:
                write(folder, first, report)
            os.close(report)
            children.append((child, reports))
        select.select([reports for _, reports in children], [], [])
        time.sleep(chance.random() * 0.2)
        for child, _ in children:
            os.kill(child, signal.SIGKILL)
        for writer, (child, reports) in enumerate(children):
            os.waitpid(child, 0)
            with os.fdopen(reports) as file:
                reported = [int(number) for number in file.read().split()]
            ends[writer] = check(folder, writer, max([ends[writer], *reported]))
    sys.stdout.write(str(sum(end - writer * IMAGES_PER_WRITER for writer, end in enumerate(ends))))


def check(folder: Path, writer: int, reported: int) -> int:
    """The number after the last image of a writer that is stored."""
    numbers = range(writer * IMAGES_PER_WRITER, reported + 2 * AT_A_TIME)
    with FeatureSet(folder, SPEC) as opened:
        rows = opened.find(digests_of(numbers))
        count = int(rows.found.sum())
        assert rows.found[:count].all()
        assert numbers.start + count in (reported, reported + AT_A_TIME)
        assert torch.equal(opened.read(rows.of(rows.found)), features_of(numbers[:count], SIZE))
    return numbers.start + count


if __name__ == "__main__":
    main()
