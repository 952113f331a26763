"""Shared by all benchmarks: facts about the machine, interleaved runs, goals, and saved results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("BREEDCLF_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
WEIGHTS = DATA / "weights" / "resnet50-imagenet1k.pth"
BACKBONES = {
    "resnet50": WEIGHTS,
    "timm:tf_efficientnet_lite0": DATA / "weights" / "efficientnet-lite0.pth",
    "timm:tf_efficientnet_lite2": DATA / "weights" / "efficientnet-lite2.pth",
}
"""Networks by name, with files of their weights."""


def peers_environment() -> Path | None:
    """The interpreter of the environment with other libraries, if there is one."""
    python = Path(os.environ.get("BREEDCLF_PEERS_PYTHON", Path(__file__).parents[1] / ".venv-peers/bin/python"))
    return python if python.is_file() else None


def peers_python() -> Path:
    """The interpreter of the environment with other libraries; exits if there is none, which skips the benchmark."""
    python = peers_environment()
    if python is None:
        sys.stderr.write("skipped: there is no environment of other libraries; run make bench-peers to create it\n")
        raise SystemExit(0)
    return python


def machine() -> dict[str, Any]:
    """Hardware, versions, load and date."""
    import torch
    import torchvision

    return {
        "processor": _processor(),
        "instructions": instructions(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "date": datetime.now(UTC).date().isoformat(),
    }


def instructions() -> str:
    """The instruction set, to distinguish processors of the same name: bf16, or the widest vectors that torch uses."""
    import torch

    return "bf16" if quickest_precision() == "bf16" else torch.backends.cpu.get_cpu_capability().lower()


def quickest_precision() -> str:
    """The precision that `precision=auto` selects on this machine."""
    from breedclf.runtime.device import compute_for

    return compute_for("auto", "auto").precision


def interleaved(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Run all functions alternately, `repeats` times; return wall and CPU seconds of every run."""
    seconds: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in works}
    for repeat in range(repeats):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            seconds[name]["wall"].append(time.perf_counter() - wall)
            seconds[name]["cpu"].append(time.process_time() - cpu)
            print(f"  {repeat + 1}/{repeats} {name}: {seconds[name]['wall'][-1]:.2f} s", file=sys.stderr, flush=True)
    return seconds


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> dict[str, float]:
    """Ratios of pairs of runs: median, minimum and maximum."""
    each = [above / below for above, below in zip(numerator, denominator, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def report(name: str, goals: list[dict[str, Any]], details: dict[str, Any], arguments: argparse.Namespace) -> int:
    """Print the goals and results, save them if requested (never quick ones), and return whether a goal was missed."""
    document = {"benchmark": name, "quick": arguments.quick, "machine": machine(), "goals": goals, "details": details}
    if arguments.save and arguments.quick:
        print("not saved: a quick result is no measurement", file=sys.stderr)
    elif arguments.save:
        path = result_path(name, document["machine"])
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"saved to benchmarks/results/{path.name}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print_goals(goals)
    return 0 if all(goal["reached"] for goal in goals) else 1


def result_path(name: str, about: Mapping[str, Any]) -> Path:
    """The file in benchmarks/results/ of a benchmark on the machine that `machine()` describes."""
    slug = _slug(" ".join(str(about.get(key, "unknown")) for key in ("processor", "instructions", "cores")) + " cores")
    return RESULTS / f"{slug}-{about.get('date', 'unknown')}-{name}.json"


def print_goals(goals: Sequence[Mapping[str, Any]]) -> None:
    """Print one line per goal, with the result."""
    for goal in goals:
        mark = "reached" if goal["reached"] else "MISSED "
        print(f"{mark}  {goal['what']}: {goal['value']:.4g} (goal {goal['goal']})", flush=True)


def at_least(what: str, value: float, goal: float) -> dict[str, Any]:
    return {"what": what, "value": value, "goal": f">= {goal}", "reached": value >= goal}


def at_most(what: str, value: float, goal: float) -> dict[str, Any]:
    return {"what": what, "value": value, "goal": f"<= {goal}", "reached": value <= goal}


class Parser(argparse.ArgumentParser):
    """An argument parser whose options have other defaults with `--quick`."""

    quick: Mapping[str, object] = {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        given, unknown = super().parse_known_args(args, namespace)
        if given.quick:
            self.set_defaults(**self.quick)
            return super().parse_known_args(args, None)
        return given, unknown


def parser_for(description: str | None, *, quick: Mapping[str, object] | None = None) -> Parser:
    """A parser with the arguments of every benchmark; `quick` has the defaults of its options with `--quick`."""
    parser = Parser(description=(description or "").splitlines()[0])
    parser.quick = quick or {}
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--save", action="store_true", help="save the result in benchmarks/results/")
    parser.add_argument("--quick", action="store_true", help="fewer repeats or less data; such results aren't saved")
    return parser


def arguments(
    description: str | None, *, repeats: int = 5, quick_repeats: int = 1, needs_data: bool = True
) -> argparse.Namespace:
    parser = parser_for(description, quick={"repeats": quick_repeats})
    parser.add_argument(
        "--repeats", type=int, default=repeats, help=f"repeats (default: {repeats}; quick: {quick_repeats})"
    )
    parsed = parser.parse_args()
    if needs_data and not WEIGHTS.is_file():
        parser.exit(0, f"skipped: no photos and weights in {DATA}; set BREEDCLF_TEST_DATA\n")
    return parsed


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _processor() -> str:
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found.group(1) if found else platform.machine()
