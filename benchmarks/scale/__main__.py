"""Growing, killed and huge datasets: what is computed again, and what it costs; ResNet18 on generated JPEGs.

All parts take about an hour on two cores; `--only` selects some, `--quick` runs them with few images.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import DATA, parser_for, report
from benchmarks.scale.cold import cold
from benchmarks.scale.evaluating import evaluating
from benchmarks.scale.growth import one_more, unchanged
from benchmarks.scale.head import head
from benchmarks.scale.kills import kills
from benchmarks.scale.runs import Setup
from benchmarks.scale.simulation import simulation
from benchmarks.scale.tuning import tuning

PARTS: dict[str, Callable[[Setup], tuple[list[dict[str, Any]], dict[str, Any]]]] = {
    "one-more": one_more,
    "unchanged": unchanged,
    "kills": kills,
    "head": head,
    "cold": cold,
    "evaluate": evaluating,
    "tuning": tuning,
    "simulation": simulation,
}
WEIGHTS = DATA / "weights" / "resnet18-imagenet1k.pth"


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1, "entries": 20_000})
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the images, except for the simulation's")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind (default: 5; quick: 1)")
    parser.add_argument("--before", metavar="REV", help="revision whose pass `cold` is compared with")
    parser.add_argument(
        "--entries", type=int, default=10_000_000, help="images of the simulation (default: 10000000; quick: 20000)"
    )
    parser.add_argument(
        "--weights",
        default=str(WEIGHTS) if WEIGHTS.is_file() else "none",
        help="state dict of ResNet18 (default: the one in BREEDCLF_TEST_DATA, else random weights)",
    )
    given = parser.parse_args()
    goals, details = [], {}
    with tempfile.TemporaryDirectory(prefix="breedclf-scale-") as folder:
        setup = Setup(
            Path(folder),
            given.weights,
            quick=given.quick,
            repeats=given.repeats,
            before=given.before,
            fraction=given.fraction,
            entries=given.entries,
        )
        for name in given.only:
            print(f" {name}", file=sys.stderr, flush=True)
            found, details[name] = PARTS[name](setup)
            goals += found
    return report("scale", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
