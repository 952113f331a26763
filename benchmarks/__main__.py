"""Run all benchmarks or some by name (`python -m benchmarks all`), and print their goals and results.

`speed` selects the benchmarks of training speed, which take two to three hours on two cores, or a third of that with
`--repeats 1`; `all` takes longer. Benchmarks that need photos, or the environment of other libraries (`make
bench-peers`), are skipped with a message if these are missing. A benchmark that fails counts as a missed goal, and the
others continue. The exit code is 1 if a goal was missed. A single benchmark takes options of its own as well, as in
`python -m benchmarks scale --only simulation`.
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

SPEED = ("startup", "decode", "forward", "backbones", "grid", "epoch", "grid_plain", "peers", "finetune", "accuracy")
NAMES = (
    *SPEED,
    "training_cost",
    "recipes",
    "heads",
    "backbone_choice",
    "data_check",
    "memory",
    "scale",
    "jobs",
    "serve",
    "serve_bank",
    "serve_peers",
    "profiling_overhead",
    "profiling_verify",
    "upload",
    "tables",
    "trust",
    "label_review",
    "report_pages",
    "console",
)
REPEATED = (*SPEED, "scale", "trust")
GROUPS = {"all": NAMES, "speed": SPEED}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="+", choices=(*GROUPS, *NAMES), metavar="NAME", help=f"all, speed, or {', '.join(NAMES)}"
    )
    parser.add_argument("--json", action="store_true", help="print the results as a JSON list")
    parser.add_argument("--save", action="store_true", help="save the results in benchmarks/results/")
    parser.add_argument(
        "--repeats", type=int, help="repeats of scale and speed benchmarks (default: depends on the benchmark)"
    )
    arguments, own = parser.parse_known_args()
    names = dict.fromkeys(name for group in arguments.names for name in GROUPS.get(group, (group,)))
    saved = ["--save"] if arguments.save else []
    repeated = [] if arguments.repeats is None else [f"--repeats={arguments.repeats}"]
    if own and len(names) > 1:
        parser.error(f"{own[0]} is an option of one benchmark: name that one alone")
    runs = (run(name, own + saved + (repeated if name in REPEATED else []), quiet=arguments.json) for name in names)
    documents = [document for document in runs if document is not None]
    if arguments.json:
        print(json.dumps(documents, indent=2))
    return 0 if all(goal["reached"] for document in documents for goal in document["goals"]) else 1


def run(name: str, flags: Sequence[str], *, quiet: bool) -> dict[str, Any] | None:
    """Run one benchmark in a separate process; None if it was skipped."""
    print(f"== {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *flags]
    process = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
    has_document = process.stdout.startswith("{")
    if not has_document:
        print(process.stdout, end="", file=sys.stderr)
        if not process.returncode:
            return None
    failed = {"benchmark": name, "goals": [at_least(f"{name}: completes", 0, 1)]}
    document: dict[str, Any] = json.loads(process.stdout) if has_document else failed
    if not quiet:
        print_goals(document["goals"])
    return document


if __name__ == "__main__":
    sys.exit(main())
