"""A grid of 12 trials compared with one training run, with a cold cache: in one process, as a job, as parallel jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_most, ratios, report
from breedclf import LocalBackend

NAME = "hymenoptera"
COMMON = [str(DATA / NAME), "--weights", str(WEIGHTS), "--json", "--quiet"]
GRID = ["--learning-rate", "0.005,0.0075,0.01", "--batch-size", "32,64", "--epochs", "2,3", "--strategy", "grid"]
COMMANDS = {
    "one training": ["train", *COMMON],
    "12 trials in one process": ["tune", *COMMON, *GRID],
    "12 trials as one local job": ["tune", *COMMON, *GRID, "--backend", "local", "--packed"],
    "12 trials as local jobs, two at a time": ["tune", *COMMON, *GRID, "--backend", "local", "--parallel", "2"],
}


def cold(command: list[str]) -> tuple[float, dict[str, Any]]:
    """Seconds of one command with its own empty cache and home, without a prepared process, and its JSON output."""
    LocalBackend().close()
    with tempfile.TemporaryDirectory() as folder:
        folders = {"BREEDCLF_CACHE_DIR": str(Path(folder) / "cache"), "BREEDCLF_HOME": str(Path(folder) / "home")}
        full_command = [sys.executable, "-m", "breedclf", *command, "--output", str(Path(folder) / "out")]
        started = time.perf_counter()
        done = subprocess.run(full_command, env=os.environ | folders, stdout=subprocess.PIPE, check=True)
        return time.perf_counter() - started, json.loads(done.stdout)


def main() -> int:
    given = arguments(__doc__, repeats=3)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    objectives: dict[str, list[float]] = {}
    for repeat in range(given.repeats):
        for name, command in COMMANDS.items():
            took, found = cold(command)
            seconds[name].append(took)
            print(f"  {repeat + 1}/{given.repeats} {name}: {took:.1f} s", file=sys.stderr, flush=True)
            if "trials" in found:
                objectives[name] = [trial["objective"] for trial in found["trials"]]
    one, *searches = COMMANDS
    cost = {name: ratios(seconds[name], seconds[one]) for name in searches}
    same = all(each == objectives[searches[0]] for each in objectives.values())
    goals = [
        at_most(f"{name} over one training run", cost[name]["median"], 2.0 if "two at a time" in name else 1.5)
        for name in searches
    ]
    goals.append({"what": "all three find equal objectives", "value": float(same), "goal": "1", "reached": same})
    details = {"data": NAME, "seconds": seconds, "over one training": cost, "objectives": objectives}
    return report("grid", goals, details, given)


if __name__ == "__main__":
    sys.exit(main())
