"""Runs of the command line in processes of their own, with what they cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setup:
    """What all parts share.

    Args:
        folder: for images, caches and models; deleted at the end.
        weights: a file with a state dict, or `none` for random weights.
        quick: few images and repeats, to see that everything works; the numbers say little.
        repeats: runs of each kind.
        before: a revision to compare the pass with.
        entries: images of the simulation.
        fraction: of the images that all other parts have, for machines that are slow or shared.
    """

    folder: Path
    weights: str
    quick: bool
    repeats: int
    before: str | None = None
    entries: int = 20_000
    fraction: float = 1.0

    def times(self, full: int, quick: int) -> int:
        """A number of repeats."""
        return quick if self.quick else full

    def images(self, full: int, quick: int) -> int:
        """A number of images."""
        return quick if self.quick else max(quick, round(full * self.fraction))


@dataclass(frozen=True)
class Run:
    """The JSON document of a command, and its seconds with imports."""

    document: dict[str, Any]
    wall: float
    cpu: float

    @property
    def computed(self) -> int:
        return int(self.document["features"]["computed"])


def breedclf(*words: str | Path, cache: Path, source: Path | None = None) -> Run:
    """Run a command with `--json` and a folder of caches; `source` has another version of the package."""
    environment = os.environ | {"BREEDCLF_CACHE_DIR": str(cache)}
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    done, wall, cpu = timed([sys.executable, "-m", "breedclf", *map(str, words), "--json"], environment)
    return Run(json.loads(done), wall, cpu)


def timed(command: Sequence[str], environment: dict[str, str] | None = None) -> tuple[str, float, float]:
    """The output, wall seconds and CPU seconds of a process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr[-3000:]}")
    return done.stdout, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train(setup: Setup, data: Path, name: str, *, cache: str = "cache", source: Path | None = None) -> Run:
    """Train a head on a folder of images; `name` is the output's, `cache` that of the folder of caches."""
    flags = ["--architecture", "resnet18", "--weights", setup.weights, "--epochs", "3", "--device", "cpu"]
    output = setup.folder / name
    run = breedclf("train", data, *flags, "--output", str(output), cache=setup.folder / cache, source=source)
    features = run.document.get("features", {})
    say(f"{name}: {run.wall:.2f} s, of these {run.document['seconds']:.2f} training; {features}")
    return run


def say(line: str) -> None:
    load = os.getloadavg()[0]
    print(f"  {line} (load {load:.1f})", file=sys.stderr, flush=True)
