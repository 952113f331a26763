"""Commands on cached features: a training run and a grid of 12 trials, against importing torch and torchvision."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.gpu.notes import Notes, Setup
from benchmarks.grid import GRID
from benchmarks.scale.runs import breedclf, timed

_IMPORTS = "import torch, torchvision"
_WITH_CUDA = f"{_IMPORTS}; torch.ones(1, device='cuda').sum().item()"


def run(setup: Setup, notes: Notes) -> None:
    notes.measure("seconds to import torch and torchvision", lambda: imports(setup, _IMPORTS))
    notes.measure("seconds to import both and use the GPU", lambda: imports(setup, _WITH_CUDA), needs_cuda=True)
    notes.measure("training run, cold", lambda: command(setup, "train", "--epochs", "3"))
    notes.measure("training run, warm", lambda: command(setup, "train", "--epochs", "3", repeats=_repeats(setup)))
    notes.measure("12 trials, warm", lambda: command(setup, "tune", *GRID))
    base = notes.found["seconds to import torch and torchvision"]
    for name in ("training run, warm", "12 trials, warm"):
        seconds = notes.found[name].get("seconds")
        if isinstance(base, float) and seconds is not None:
            notes[f"{name}, over importing both"] = seconds / base


def imports(setup: Setup, code: str) -> float:
    return min(timed([sys.executable, "-c", code])[1] for _ in range(_repeats(setup)))


def command(setup: Setup, name: str, *flags: str, repeats: int = 1) -> dict[str, Any]:
    """Wall and CPU seconds of a process, the quickest of some."""
    common = ["--architecture", setup.sizes.architecture, "--weights", "none", "--device", setup.device]
    output = str(setup.folder / "warm" / name)
    cache = setup.folder / "warm-cache"
    runs = [breedclf(name, setup.images, *common, *flags, "--output", output, cache=cache) for _ in range(repeats)]
    best = min(runs, key=lambda run: run.wall)
    found: dict[str, Any] = {"seconds": best.wall, "cpu_seconds": best.cpu}
    if "features" in best.document:
        found["features"] = best.document["features"]
    if "trials" in best.document:
        found["trials"] = len(best.document["trials"])
    return found


def _repeats(setup: Setup) -> int:
    return 3 if setup.on_gpu else 1
