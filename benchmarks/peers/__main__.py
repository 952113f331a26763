"""One epoch of training the head, compared with other libraries: time, memory, and correct test images.

make bench-peers, or python -m benchmarks.peers [--repeats 5] if .venv-peers exists

Each run is a separate process in the same environment, with the same photos, weights and trained layers, with a cold
cache and excluding startup. "shipped" is each library's default precision; breedclf's is bf16 if the hardware supports
it, and then the others are also run in bf16. "plain" with a precision keeps the frozen backbone in eval mode.
"""

from __future__ import annotations

import sys

from benchmarks.measuring import DATA, arguments, at_least, at_most, quickest_precision
from benchmarks.trainings import IN_BF16, NAME, compare, reported


def main() -> int:
    given = arguments(__doc__)
    precision = quickest_precision()
    others = [name for name in IN_BF16 if name != "breedclf"] if precision == "bf16" else ["plain"]
    runs = compare(others, DATA / NAME, repeats=given.repeats, trainable="head", epochs=1)
    shipped, plain = runs.fastest("shipped"), f"plain, {precision}"
    goals = [
        at_least(f"{shipped} over ours, seconds", runs.over_ours(shipped), 3.0),
        at_least(f"{plain} in eval mode over ours, seconds", runs.over_ours(plain), 1.15),
        at_most("memory relative to the lowest of the others", runs.memory_over_leanest(), 1.0),
        at_least("correct test images, minus the best other library's", runs.right_less_best(), -1),
    ]
    return reported("peers", goals, runs, given)


if __name__ == "__main__":
    sys.exit(main())
