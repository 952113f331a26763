"""Runs one benchmark in a separate process, with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import at_least

ROOT = Path(__file__).parents[1]


def run(
    name: str, flags: Sequence[str], *, limit_seconds: float, environment: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Its document, with the `seconds` and `cpu_seconds` it took; None if it was skipped.

    One that fails, or is killed at the limit with all processes that it started, has a document with a missed goal.
    """
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *flags]
    started, cpu_before = time.perf_counter(), _cpu_seconds()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        code = exit_code(command, limit_seconds, {**os.environ, **(environment or {})}, output=output)
        output.seek(0)
        text = output.read()
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu_before}
    if text.startswith("{") and code is not None:
        return {**json.loads(text), **took}
    print(text, end="", file=sys.stderr)
    if code == 0:
        return None
    why = f"stopped after {limit_seconds:g} s" if code is None else f"exit code {code}"
    failed = at_least(f"{name}: completes ({why})", 0, 1)
    return {"benchmark": name, "goals": [failed], "failed": why, **took}


def exit_code(
    command: Sequence[str], limit_seconds: float, environment: Mapping[str, str], *, output: Any, errors: Any = None
) -> int | None:
    """The exit code; None if the limit was reached. No process is left, however this ends."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=errors, env=environment, start_new_session=True)
    try:
        return process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill(process)


def _cpu_seconds() -> float:
    """Of all processes that this one has waited for, and that those have."""
    times = os.times()
    return times.children_user + times.children_system


def _kill(process: subprocess.Popen[bytes]) -> None:
    started: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(started, timeout=1)
