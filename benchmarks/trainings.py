"""Trainings of several libraries in turns, each in a process of its own: seconds, memory, images named rightly."""

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
    """What each contender's runs measured, by "library, precision"."""

    settings: dict[str, Any]
    measured: dict[str, list[dict[str, Any]]]

    def seconds(self, name: str) -> list[float]:
        return [each["seconds"] for each in self.measured[name]]

    def over_ours(self, name: str, ours: str = OURS) -> float:
        """How many times as long as ours, the median of the runs."""
        return ratios(self.seconds(name), self.seconds(ours))["median"]

    def fastest(self, precision: str) -> str:
        """The quickest library other than ours at that precision."""
        return min(self._others(precision), key=lambda name: statistics.median(self.seconds(name)))

    def memory_over_leanest(self) -> float:
        """Our peak over that of the peer that needs least, medians."""
        return self._memory(OURS) / min(self._memory(name) for name in self._others("shipped"))

    def right_less_best(self) -> float:
        """Test images that we name rightly, less those of the best peer, medians over the seeds."""
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
    """Every library as it ships and some in this machine's quickest precision, in turns, each time with another seed.

    `settings` are those of `Task`.
    """
    python, precision = peers_python(), quickest_precision()
    contenders = [(name, "shipped") for name in LIBRARIES] + [(name, precision) for name in matched]
    measured: dict[str, list[dict[str, Any]]] = {f"{library}, {precision}": [] for library, precision in contenders}
    for number in range(repeats):
        for library, precision in contenders:
            run = one_training(python, library, {**settings, "data": data, "precision": precision, "seed": number})
            measured[f"{library}, {precision}"].append(run)
            told = f"{run['seconds']:.1f} s, {run['memory_bytes'] / 2**20:.0f} MiB, {run.get('right', '?')} right"
            print(f"  {number + 1}/{repeats} {library}, {precision}: {told}", file=sys.stderr, flush=True)
    return Runs({"data": data.name, **settings}, measured)


def one_training(python: Path, library: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What one process tells of its training, with the most memory that it and its own held at a time."""
    with tempfile.TemporaryDirectory() as scratch:
        given = {"weights": WEIGHTS, "scratch": scratch, **settings}
        flags = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        errors = Path(scratch) / "stderr"
        with errors.open("w") as told:
            process = subprocess.Popen(
                [str(python), "-m", f"benchmarks.peers.train_{library}", *flags], stdout=subprocess.PIPE, stderr=told
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
    """The table of all contenders on stderr, then what every benchmark reports."""
    for contender, each in runs.summary().items():
        of = f"{each['right']:g} right" if each["right"] is not None else "speed only"
        print(
            f"  {contender:22} {each['seconds']:7.1f} s {each['over ours']['median']:6.2f}x ours, "
            f"{each['cpu seconds']:7.1f} CPU s, {each['memory bytes'] / 2**20:6.0f} MiB, {of}",
            file=sys.stderr,
        )
    return report(name, list(goals), {"settings": runs.settings, "contenders": runs.summary()}, given)


def _proportional_bytes(pid: int) -> int:
    """Memory of a process and of those it started; what they share counts once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for each in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                total += each.memory_full_info().pss
    return total
