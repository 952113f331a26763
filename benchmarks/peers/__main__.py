"""One epoch of training the head, ours beside the peers: seconds, CPU seconds, memory, images named rightly.

make bench-peers, or python -m benchmarks.peers [--repeats 5] once .venv-peers is there

Every training is a process of its own in the same environment, with the same photos, weights and trainable set,
from a cold cache, start-up left out. "shipped" is each library's own precision, which ours is bf16 where the hardware
has it; there the others are run in bf16, too. "plain" in a precision leaves the frozen backbone in eval mode.
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
        at_most("our memory over the leanest peer's", runs.memory_over_leanest(), 1.0),
        at_least("test images right, less the best peer's", runs.right_less_best(), -1),
    ]
    return reported("peers", goals, runs, given)


if __name__ == "__main__":
    sys.exit(main())
