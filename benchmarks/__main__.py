"""Run benchmarks: `python -m benchmarks all`, or some by name; each prints its goals with what was reached.

`speed` stands for those about a training's speed: two to three hours on two cores, a third of that with `--repeats 1`;
`all` takes longer. Those that need photos, or the environment of other libraries (`make bench-peers`), are left
out where these are missing, and say so. One that breaks off counts as a missed goal, and the others go on. The exit
code is 1 if a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import at_least, print_goals

SPEED = ("startup", "decode", "forward", "grid", "epoch", "grid_plain", "peers", "finetune", "accuracy")
NAMES = (
    *SPEED,
    "training_cost",
    "recipes",
    "doctor",
    "memory",
    "jobs",
    "serve",
    "serve_peers",
    "profiling_overhead",
    "profiling_verify",
    "upload",
)
GROUPS = {"all": NAMES, "speed": SPEED}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="+", choices=(*GROUPS, *NAMES), metavar="NAME", help=f"all, speed, or {', '.join(NAMES)}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document, a list")
    parser.add_argument("--save", action="store_true", help="keep the documents under benchmarks/results/")
    parser.add_argument("--repeats", type=int, help="runs of each side, for those of speed (default: each one's own)")
    given = parser.parse_args()
    names = dict.fromkeys(name for asked in given.names for name in GROUPS.get(asked, (asked,)))
    saved = ["--save"] if given.save else []
    repeated = [] if given.repeats is None else [f"--repeats={given.repeats}"]
    runs = (run(name, saved + (repeated if name in SPEED else []), quiet=given.json) for name in names)
    documents = [document for document in runs if document is not None]
    if given.json:
        print(json.dumps(documents, indent=2))
    return 0 if all(goal["reached"] for document in documents for goal in document["goals"]) else 1


def run(name: str, flags: Sequence[str], *, quiet: bool) -> dict[str, Any] | None:
    """One benchmark in a process of its own; None if it was left out."""
    print(f"== {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *flags]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
    told = ended.stdout.startswith("{")
    if not told:
        print(ended.stdout, end="", file=sys.stderr)
        if not ended.returncode:
            return None
    broken = {"benchmark": name, "goals": [at_least(f"{name}: runs to its end", 0, 1)]}
    document: dict[str, Any] = json.loads(ended.stdout) if told else broken
    if not quiet:
        print_goals(document["goals"])
    return document


if __name__ == "__main__":
    sys.exit(main())
