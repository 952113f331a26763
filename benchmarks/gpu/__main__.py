"""What a GPU machine makes of breedclf: passes, fine-tuning, decoding, precisions, serving; in eight minutes or less.

python -m benchmarks gpu --output gpu.json

It needs this repository with its installed environment (torch for CUDA and torchvision), one GPU, 4 GB in the temporary
folder, and nothing from a network: weights are random, images are generated. A C compiler is needed for `compile` only.
Each part runs in a process of its own with a limit of its own. A part that fails or takes too long is noted with the
reason, and the others go on; the results are written after each part.

`--dry-run` runs the same code with a small network and few images on the CPU, in less than a minute, and notes "needs
CUDA" for the rest; its numbers say nothing. Without a GPU and without `--dry-run` the benchmark is skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.notes import Setup, failures, write_json
from benchmarks.gpu.plan import FIRST, FULL, LIMITS, SMALL, seconds_for, selected
from benchmarks.gpu.processes import run_part
from benchmarks.measuring import at_most, parser_for, print_goals, result_path


def main() -> int:
    given = arguments()
    deadline = time.monotonic() + given.limit_s
    document: dict[str, Any] = {"benchmark": "gpu", "machine": {}, "goals": [], "details": {}}
    with tempfile.TemporaryDirectory(prefix="breedclf-gpu-") as folder:
        setup = Setup(Path(folder), "cpu" if given.dry_run else "cuda", SMALL if given.dry_run else FULL)
        for name in selected(given.only):
            result = part(name, setup, deadline - time.monotonic())
            if name == "facts":
                document["machine"] = result["found"].get("machine", {})
                if not given.dry_run and document["machine"].get("gpu", "unknown") is None:
                    sys.stdout.write("skipped: torch finds no CUDA device; --dry-run runs everything on the CPU\n")
                    return 0
            document["details"][name] = result
            document["goals"] = [at_most("parts and measurements that failed", len(failed(document["details"])), 0)]
            given.output = saved(document, given.output, wanted=given.save or not given.dry_run)
    print_document(document, as_json=given.json)
    return 0 if all(goal["reached"] for goal in document["goals"]) else 1


def arguments() -> argparse.Namespace:
    parser = parser_for(__doc__)
    parts = [name for name in LIMITS if name not in FIRST]
    parser.add_argument("--only", nargs="+", choices=parts, help="parts to run (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="everything that a CPU can do of it, with few images")
    parser.add_argument("--limit-s", type=float, default=480.0, help="seconds for all parts (default: 480)")
    parser.add_argument("--output", type=Path, help="the JSON file (default: in benchmarks/results/, if not --dry-run)")
    return parser.parse_args()


def part(name: str, setup: Setup, seconds_left: float) -> dict[str, Any]:
    """Run a part, if there is time for it."""
    seconds = seconds_for(name, seconds_left, setup.sizes.patience)
    if seconds is None:
        return {"status": "not started", "reason": "no time was left", "seconds": 0.0, "found": {}}
    print(f" {name} (at most {seconds:.0f} s)", file=sys.stderr, flush=True)
    result = run_part(name, setup, seconds=seconds)
    reason = f": {result['reason']}" if "reason" in result else ""
    print(f"  {result['status']} after {result['seconds']:.0f} s{reason}", file=sys.stderr, flush=True)
    return result


def failed(details: dict[str, Any]) -> list[str]:
    """The parts that aren't ok, and the measurements that failed within the others."""
    parts = [name for name, result in details.items() if result["status"] != "ok"]
    return parts + [f"{name}: {each}" for name, result in details.items() for each in failures(result["found"])]


def saved(document: dict[str, Any], path: Path | None, *, wanted: bool) -> Path | None:
    """The file that the document was written to; a folder that can't be written is replaced by the temporary one."""
    if path is None and not wanted:
        return None
    chosen = path or result_path(document["benchmark"], document["machine"])
    try:
        chosen.parent.mkdir(parents=True, exist_ok=True)
        write_json(chosen, document)
    except OSError as error:
        other = Path(tempfile.gettempdir()) / f"breedclf-gpu-{os.getpid()}.json"
        print(f"  {chosen} can't be written ({error}): writing {other}", file=sys.stderr)
        write_json(other, document)
        return other
    return chosen


def print_document(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=2))
        return
    for name in failed(document["details"]):
        print(f"failed   {name}")
    print_goals(document["goals"])


if __name__ == "__main__":
    sys.exit(main())
