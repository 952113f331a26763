"""One epoch of training the head, compared with other libraries: time, memory, and correct test images.

make bench-peers, or python -m benchmarks.peers [--repeats 5] [--network resnet50] if .venv-peers exists

Each run is a separate process in the same environment, with the same photos, weights and trained layers, with a cold
cache; its time is measured with and without start-up, which is everything before the first batch. "shipped" is each
library's default precision; breedclf's is bf16 if the hardware supports it, and then the others are also run in bf16.
"plain" with a precision keeps the frozen backbone in eval mode. ConvNeXt-Tiny has random weights, for speed only.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.measuring import DATA, WEIGHTS, at_least, at_most, parser_for, quickest_precision, report
from benchmarks.networks import NETWORKS
from benchmarks.trainings import IN_BF16, LIBRARIES, NAME, QUICK, UNABLE, Runs, compare, print_table


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1, "libraries": QUICK})
    parser.add_argument("--repeats", type=int, default=5, help="repeats (default: 5; quick: 1)")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: all")
    parser.add_argument(
        "--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES, help="default: all; quick: some of the quickest"
    )
    given = parser.parse_args()
    if not WEIGHTS.is_file():
        parser.exit(0, f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA\n")
    libraries, precision = dict.fromkeys(("breedclf", *given.libraries)), quickest_precision()
    matched = [name for name in IN_BF16 if name in libraries and name != "breedclf"] if precision == "bf16" else []
    goals, details = [], {}
    for network in given.network:
        print(f" {network}", file=sys.stderr, flush=True)
        found = compare(
            {**dict.fromkeys(matched), "plain": None},
            DATA / NAME,
            repeats=given.repeats,
            libraries=libraries,
            network=network,
            trainable="head",
            epochs=1,
        )
        print_table(found)
        goals += goals_of(network, found, precision)
        unable = {name: why for (name, of), why in UNABLE.items() if of == network and name in libraries}
        details[network] = {"settings": found.settings, "contenders": found.summary(), "unable": unable}
    return report("peers", goals, {"networks": details}, given)


def goals_of(network: str, runs: Runs, precision: str) -> list[dict[str, Any]]:
    shipped, plain = runs.fastest("shipped"), f"plain, {precision}"
    quickest = runs.fastest("shipped", clock="process_seconds")
    cpu = runs.fastest("shipped", clock="process_cpu_seconds")
    goals = [
        at_least(
            f"{network}: {quickest} over ours, with start-up",
            runs.over_ours(quickest, clock="process_seconds"),
            3.0,
        ),
        at_least(
            f"{network}: {cpu} over ours, CPU seconds with start-up",
            runs.over_ours(cpu, clock="process_cpu_seconds"),
            3.0,
        ),
        at_least(f"{network}: {shipped} over ours, training alone", runs.over_ours(shipped), 3.0),
        at_least(f"{network}: {plain} in eval mode over ours, training alone", runs.over_ours(plain), 1.15),
        at_most(f"{network}: memory relative to the lowest of the others", runs.memory_over_leanest(), 1.0),
    ]
    if NETWORKS[network] is None:
        return goals
    return [*goals, at_least(f"{network}: correct test images, minus the best other's", runs.right_less_best(), -1)]


if __name__ == "__main__":
    sys.exit(main())
