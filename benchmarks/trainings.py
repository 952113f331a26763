"""Runs training with several libraries alternately, each in a separate process: time, memory, correct images."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import WEIGHTS, peers_python, quickest_precision, ratios, report

NAME = "hymenoptera"
LIBRARIES = ("breedclf", "fastai", "lightning", "transformers", "ultralytics", "keras", "plain")
IN_BF16 = ("breedclf", "lightning", "transformers", "keras", "plain")
POLL_SECONDS = 0.25
OURS = "breedclf, shipped"


@dataclass(frozen=True)
class Runs:
    """Measurements of each contender's runs, by "library, precision"."""

    settings: dict[str, Any]
    measured: dict[str, list[dict[str, Any]]]

    def seconds(self, name: str) -> list[float]:
        return [each["seconds"] for each in self.measured[name]]

    def over_ours(self, name: str, ours: str = OURS) -> float:
        """Time relative to breedclf's, median over runs."""
        return ratios(self.seconds(name), self.seconds(ours))["median"]

    def fastest(self, precision: str) -> str:
        """The fastest other library at this precision."""
        return min(self._others(precision), key=lambda name: statistics.median(self.seconds(name)))

    def memory_over_leanest(self) -> float:
        """breedclf's peak memory relative to the lowest of the others, medians."""
        return self._memory(OURS) / min(self._memory(name) for name in self._others("shipped"))

    def right_less_best(self) -> float:
        """Correct test images, minus those of the best other library, medians over seeds."""
        best = max(self._right(name) for name in self.measured if "right" in self.measured[name][0])
        return self._right(OURS) - best

    def summary(self) -> dict[str, Any]:
        return {
            name: {
                "seconds": statistics.median(self.seconds(name)),
                "over ours": ratios(self.seconds(name), self.seconds(OURS)),
                "cpu seconds": statistics.median(each["cpu_seconds"] for each in runs),
                "memory bytes": self._memory(name),
                "right": self._right(name) if "right" in runs[0] else None,
                "runs": runs,
            }
            for name, runs in self.measured.items()
        }

    def _others(self, precision: str) -> list[str]:
        return [name for name in self.measured if name.endswith(precision) and not name.startswith("breedclf")]

    def _memory(self, name: str) -> float:
        return statistics.median(each["memory_bytes"] for each in self.measured[name])

    def _right(self, name: str) -> float:
        return statistics.median(each["right"] for each in self.measured[name])


def compare(matched: Iterable[str], data: Path, *, repeats: int, **settings: Any) -> Runs:
    """Run all libraries with their own settings, and some in the fastest precision, alternately, with different seeds.

    `settings` are those of `Task`.
    """
    python, precision = peers_python(), quickest_precision()
    contenders = [(name, "shipped") for name in LIBRARIES] + [(name, precision) for name in matched]
    measured: dict[str, list[dict[str, Any]]] = {f"{library}, {precision}": [] for library, precision in contenders}
    for number in range(repeats):
        for library, precision in contenders:
            run = one_training(python, library, {**settings, "data": data, "precision": precision, "seed": number})
            measured[f"{library}, {precision}"].append(run)
            result = f"{run['seconds']:.1f} s, {run['memory_bytes'] / 2**20:.0f} MiB, {run.get('right', '?')} right"
            print(f"  {number + 1}/{repeats} {library}, {precision}: {result}", file=sys.stderr, flush=True)
    return Runs({"data": data.name, **settings}, measured)


def one_training(python: Path, library: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train in a separate process, and return its results and the peak memory of its process tree."""
    with tempfile.TemporaryDirectory() as scratch:
        options = {"weights": WEIGHTS, "scratch": scratch, **settings}
        flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        errors = Path(scratch) / "stderr"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [str(python), "-m", f"benchmarks.peers.train_{library}", *flags], stdout=subprocess.PIPE, stderr=stderr
            )
        memory = 0
        while process.poll() is None:
            memory = max(memory, _proportional_bytes(process.pid))
            time.sleep(POLL_SECONDS)
        assert process.stdout is not None
        answer = process.stdout.read()
        if process.returncode:
            sys.exit(f"{library} ended with {process.returncode}:\n{errors.read_text()[-3000:]}")
    return {**json.loads(answer.splitlines()[-1]), "memory_bytes": memory}


def reported(name: str, goals: Sequence[dict[str, Any]], runs: Runs, given: argparse.Namespace) -> int:
    """Print a table of all contenders to stderr, then report as every benchmark."""
    for contender, each in runs.summary().items():
        of = f"{each['right']:g} right" if each["right"] is not None else "speed only"
        print(
            f"  {contender:22} {each['seconds']:7.1f} s {each['over ours']['median']:6.2f}x ours, "
            f"{each['cpu seconds']:7.1f} CPU s, {each['memory bytes'] / 2**20:6.0f} MiB, {of}",
            file=sys.stderr,
        )
    return report(name, list(goals), {"settings": runs.settings, "contenders": runs.summary()}, given)


def _proportional_bytes(pid: int) -> int:
    """Memory of a process and its children; shared memory is counted once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for each in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                total += each.memory_full_info().pss
    return total
