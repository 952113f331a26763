"""One part in a process of its own: it may crash, hang or use up the GPU, and the next part doesn't notice."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu.notes import Setup, shortened
from benchmarks.running import exit_code

_DRY = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
"""Environment of a dry run: no GPU is used, and threads don't wait for each other on busy cores."""


def run_part(name: str, setup: Setup, *, seconds: float, command: list[str] | None = None) -> dict[str, Any]:
    """Run a part for at most this many seconds; the result has what it found until then.

    `status` is ok, failed or "over its time"; `reason` says why it isn't ok. `command` replaces the part's program.
    """
    results, log = setup.folder / f"{name}.json", setup.folder / f"{name}.log"
    words = command or [sys.executable, "-m", "benchmarks.gpu.child", name, setup.to_json(), str(results)]
    started = time.perf_counter()
    environment = os.environ | ({} if setup.on_gpu else _DRY) | {"BREEDCLF_CACHE_DIR": str(setup.folder / "cache")}
    with log.open("wb") as errors:
        code = exit_code(words, seconds, environment, output=errors, errors=errors)
    if code is None:
        return _result("over its time", f"stopped after {seconds:.0f} s", started, results)
    if code:
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        return _result("failed", shortened(f"exit code {code}: {said}"), started, results)
    return _result("ok", None, started, results)


def _result(status: str, reason: str | None, started: float, results: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        found = json.loads(results.read_text(encoding="utf-8"))
    about = {"status": status, "seconds": round(time.perf_counter() - started, 2), "found": found}
    return about if reason is None else about | {"reason": reason}
