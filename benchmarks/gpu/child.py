"""The program of one part: `python -m benchmarks.gpu.child NAME SETUP RESULTS`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.notes import Notes, Setup

MODULES = {
    "facts": "machine",
    "images": "images",
    "features": "passes",
    "finetune": "finetune",
    "decoding": "decoding",
    "precisions": "precisions",
    "serving": "endpoint",
    "warm": "warm",
    "compile": "compiled",
    "collectives": "collectives",
}
"""The module of each part, which has its `run`."""


def main() -> int:
    name, setup_text, results = sys.argv[1:]
    setup = Setup.from_json(setup_text)
    run: Callable[[Setup, Notes], None] = import_module(f"benchmarks.gpu.{MODULES[name]}").run
    run(setup, Notes(Path(results), on_gpu=setup.on_gpu))
    return 0


if __name__ == "__main__":
    sys.exit(main())
