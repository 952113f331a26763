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

from benchmarks.measuring import peers_python, quickest_precision, ratios, report
from benchmarks.networks import NETWORKS

NAME = "hymenoptera"
LIBRARIES = ("breedclf", "fastai", "lightning", "transformers", "timm", "ultralytics", "keras", "plain")
IN_BF16 = ("breedclf", "lightning", "transformers", "timm", "keras", "plain")
QUICK = ("breedclf", "lightning", "timm")
UNABLE = {("keras", "timm:tf_efficientnet_lite0"): "Keras has no EfficientNet-Lite"}
POLL_SECONDS = 0.25
OURS = "breedclf, shipped"
CLOCKS = ("seconds", "cpu_seconds", "process_seconds", "process_cpu_seconds")


@dataclass(frozen=True)
class Runs:
    """Measurements of each contender's runs, by "library, precision"."""

    settings: dict[str, Any]
    measured: dict[str, list[dict[str, Any]]]

    def of(self, name: str, clock: str) -> list[float]:
        """A clock of each run: "seconds" of training, "process_seconds" with start-up, or the CPU seconds of either."""
        return [each[clock] for each in self.measured[name]]

    def over_ours(self, name: str, ours: str = OURS, *, clock: str = "seconds") -> float:
        """Time relative to breedclf's, median over runs."""
        return ratios(self.of(name, clock), self.of(ours, clock))["median"]

    def fastest(self, precision: str, *, clock: str = "seconds") -> str:
        """The fastest other library at this precision."""
        return min(self._others(precision), key=lambda name: statistics.median(self.of(name, clock)))

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
                **{clock.replace("_", " "): statistics.median(self.of(name, clock)) for clock in CLOCKS},
                "over ours": ratios(self.of(name, "seconds"), self.of(OURS, "seconds")),
                "process over ours": ratios(self.of(name, "process_seconds"), self.of(OURS, "process_seconds")),
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


def compare(
    matched: Iterable[str],
    data: Path,
    *,
    repeats: int,
    libraries: Iterable[str] = LIBRARIES,
    network: str = "resnet50",
    **settings: Any,
) -> Runs:
    """Run libraries with their own settings, and some in the fastest precision, alternately, with different seeds.

    `settings` are those of `Task`. Libraries that have no such network are left out.
    """
    python, precision = peers_python(), quickest_precision()
    contenders = [(name, "shipped") for name in libraries] + [(name, precision) for name in matched]
    contenders = [each for each in contenders if (each[0], network) not in UNABLE]
    settings |= {"network_name": network, "weights": NETWORKS[network]}
    measured: dict[str, list[dict[str, Any]]] = {f"{library}, {precision}": [] for library, precision in contenders}
    for number in range(repeats):
        for library, precision in contenders:
            run = one_training(python, library, {**settings, "data": data, "precision": precision, "seed": number})
            measured[f"{library}, {precision}"].append(run)
            times = f"{run['seconds']:.1f} s, {run['process_seconds']:.1f} s with start-up"
            result = f"{times}, {run['memory_bytes'] / 2**20:.0f} MiB, {run.get('right', '?')} right"
            print(f"  {number + 1}/{repeats} {library}, {precision}: {result}", file=sys.stderr, flush=True)
    about = {name: value for name, value in settings.items() if name != "weights"}
    return Runs({"data": data.name, **about, "random weights": NETWORKS[network] is None}, measured)


def one_training(python: Path, library: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train in a separate process, and return its results and the peak memory of its process tree."""
    with tempfile.TemporaryDirectory() as scratch:
        options = {name: value for name, value in {"scratch": scratch, **settings}.items() if value is not None}
        flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        errors = Path(scratch) / "stderr"
        started = time.time()
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [str(python), "-m", f"benchmarks.peers.train_{library}", *flags], stdout=subprocess.PIPE, stderr=stderr
            )
        memory = peak_bytes(process)
        assert process.stdout is not None
        answer = process.stdout.read()
        if process.returncode:
            sys.exit(f"{library} ended with {process.returncode}:\n{errors.read_text()[-3000:]}")
    found = json.loads(answer.splitlines()[-1])
    return {**found, "process_seconds": found.pop("ended") - started, "memory_bytes": memory}


def peak_bytes(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; return the peak memory of it and its children, looked up four times a second."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, _proportional_bytes(process.pid))
        time.sleep(POLL_SECONDS)
    return peak


def reported(name: str, goals: Sequence[dict[str, Any]], runs: Runs, given: argparse.Namespace) -> int:
    """Print a table of all contenders to stderr, then report as every benchmark."""
    print_table(runs)
    return report(name, list(goals), {"settings": runs.settings, "contenders": runs.summary()}, given)


def print_table(runs: Runs) -> None:
    """One line per contender, to stderr."""
    for contender, each in runs.summary().items():
        of = f"{each['right']:g} right" if each["right"] is not None else "speed only"
        print(
            f"  {contender:22} {each['seconds']:7.1f} s {each['over ours']['median']:6.2f}x ours; "
            f"with start-up {each['process seconds']:7.1f} s {each['process over ours']['median']:6.2f}x, "
            f"{each['process cpu seconds']:7.1f} CPU s, {each['memory bytes'] / 2**20:6.0f} MiB, {of}",
            file=sys.stderr,
        )


def _proportional_bytes(pid: int) -> int:
    """Memory of a process and its children; shared memory is counted once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for each in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                total += each.memory_full_info().pss
    return total
