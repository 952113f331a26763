"""Run all benchmarks or some by name (`python -m benchmarks all`), and print their goals and results.

`speed` selects the benchmarks of training speed, which take two to three hours on two cores, or a third of that with
`--repeats 1`; `all` takes longer. `all --quick` runs everything on a few images, to see that it works, with a goal of
20 minutes: its goals say little, and nothing is saved. Benchmarks that need photos, a GPU, or the environment of other
libraries (`make bench-peers`), are skipped with a message if these are missing. A benchmark that fails, or reaches the
limit of `--timeout`, counts as a missed goal, and the others continue; Ctrl-C prints what is finished. The exit code is
1 if a goal was missed. A single benchmark takes options of its own as well, as in `python -m benchmarks scale --only
simulation` or `python -m benchmarks gpu --output gpu.json`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.few_images import link_few_images
from benchmarks.measuring import DATA, at_most, print_goals
from benchmarks.running import run

SPEED = ("startup", "decode", "forward", "backbones", "grid", "epoch", "grid_plain", "peers", "finetune", "accuracy")
ALL = (
    *SPEED,
    "warm_train",
    "training_cost",
    "evaluate_pass",
    "recipes",
    "heads",
    "backbone_choice",
    "data_check",
    "memory",
    "memory_commands",
    "scale",
    "jobs",
    "serve",
    "serve_bank",
    "serve_peers",
    "profiling_overhead",
    "profiling_cost",
    "profiling_verify",
    "upload",
    "tables",
    "trust",
    "label_review",
    "report_pages",
    "console",
    "time_shares",
    "gpu",
)
NAMES = (*ALL, "out_of_core")  # a part of `scale` runs it
REPEATED = (*SPEED, "warm_train", "scale", "trust")
GROUPS = {"all": ALL, "speed": SPEED}
LIMIT_SECONDS, QUICK_LIMIT_SECONDS, QUICK_MINUTES = 10_800.0, 300.0, 20
INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="+", choices=(*GROUPS, *NAMES), metavar="NAME", help=f"all, speed, or {', '.join(NAMES)}"
    )
    parser.add_argument("--json", action="store_true", help="print the results as a JSON list")
    parser.add_argument("--save", action="store_true", help="save the results in benchmarks/results/")
    parser.add_argument("--quick", action="store_true", help="a few images and repeats, to see that everything works")
    parser.add_argument(
        "--repeats", type=int, help="repeats of scale and speed benchmarks (default: depends on the benchmark)"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="of a benchmark (default: 10800; quick: 300)")
    arguments, own = parser.parse_known_args()
    names = list(dict.fromkeys(name for group in arguments.names for name in GROUPS.get(group, (group,))))
    if own and len(names) > 1:
        parser.error(f"{own[0]} is an option of one benchmark: name that one alone")
    flags = own + ["--save"] * arguments.save + ["--quick"] * arguments.quick
    repeated = [] if arguments.repeats is None else [f"--repeats={arguments.repeats}"]
    limit = arguments.timeout or (QUICK_LIMIT_SECONDS if arguments.quick else LIMIT_SECONDS)
    documents: list[dict[str, Any]] = []
    interrupted, started = False, time.perf_counter()
    try:
        with images(few=arguments.quick) as environment:
            for number, name in enumerate(names, start=1):
                so_far = time.perf_counter() - started
                _say(f"== {name} ({number} of {len(names)}, after {so_far:.0f} s)")
                options = flags + (repeated if name in REPEATED else [])
                found = run(name, options, limit_seconds=limit, environment=environment)
                if found is None:
                    continue
                documents.append(found)
                reached = sum(goal["reached"] for goal in found["goals"])
                times = f"{found['seconds']:.1f} s, {found['cpu_seconds']:.1f} CPU s"
                _say(f"   {name}: {times}, {reached} of {len(found['goals'])} goals reached")
                if not arguments.json:
                    print_goals(found["goals"])
    except KeyboardInterrupt:
        interrupted = True
    if len(names) > 1:
        documents.append(summary(arguments, names, documents, time.perf_counter() - started, interrupted=interrupted))
        _say(f"{documents[-1]['seconds'] / 60:.1f} minutes")
    if arguments.json:
        print(json.dumps(documents, indent=2))
    if interrupted:
        return INTERRUPTED
    return 0 if all(goal["reached"] for document in documents for goal in document["goals"]) else 1


@contextmanager
def images(*, few: bool) -> Iterator[dict[str, str]]:
    """What the environment has to contain: with `few`, the name of a temporary folder with a few images."""
    if not few or not DATA.is_dir():
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        yield {"BREEDCLF_TEST_DATA": str(link_few_images(DATA, Path(folder) / "data"))}


def summary(
    arguments: argparse.Namespace,
    names: Sequence[str],
    documents: Sequence[dict[str, Any]],
    seconds: float,
    *,
    interrupted: bool,
) -> dict[str, Any]:
    """The last document, if there are several: what ran, for how long, and what was skipped, failed or left."""
    of = {document["benchmark"]: document["seconds"] for document in documents}
    everything = arguments.quick and "all" in arguments.names and not interrupted
    return {
        "benchmark": "summary",
        "quick": arguments.quick,
        "goals": [at_most("minutes of all quick benchmarks", seconds / 60, QUICK_MINUTES)] if everything else [],
        "seconds": seconds,
        "seconds by benchmark": of,
        "failed": [document["benchmark"] for document in documents if "failed" in document],
        "skipped or not run": [name for name in names if name not in of],
        "interrupted": interrupted,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
