"""One epoch of training the last layer, ours beside the peers: seconds, CPU seconds, memory, pictures named rightly.

make bench-peers, or python -m benchmarks.peers [--repeats 5] once .venv-peers is there

Every training is a process of its own in the same environment, with the same photographs, weights and trainable set,
from a cold cache, start-up left out. "shipped" is each library's own precision, the other column bf16 where it can.
"""

from __future__ import annotations

import sys

from benchmarks.measuring import DATA, arguments, at_least, at_most
from benchmarks.trainings import IN_BF16, NAME, compare, reported


def main() -> int:
    given = arguments(__doc__)
    others = [name for name in IN_BF16 if name != "breedclf"]  # which ships in it
    runs = compare(others, DATA / NAME, repeats=given.repeats, trainable="head", epochs=1)
    shipped = runs.fastest("shipped")
    goals = [
        at_least(f"{shipped} over ours, seconds", runs.over_ours(shipped), 3.0),
        at_least("plain, bf16 over ours, seconds", runs.over_ours("plain, bf16"), 1.15),
        at_most("our memory over the leanest peer's", runs.memory_over_leanest(), 1.0),
        at_least("test pictures right, less the best peer's", runs.right_less_best(), -1),
    ]
    return reported("peers", goals, runs, given)


if __name__ == "__main__":
    sys.exit(main())
