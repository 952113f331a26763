"""The failure reason of a job: its `failure` file, or else its exit code."""

from __future__ import annotations

import signal

from breedclf.backends.common.folder import JobFolder
from breedclf.jobs import MAX_FAILURE_REASON_CHARS

_TAIL_BYTES = 4_096


def failure_reason(folder: JobFolder, exit_code: int) -> str:
    """The first 1,024 characters of the job's `failure` file, or else its exit code and its last log line."""
    try:
        with folder.failure_file.open(encoding="utf-8", errors="replace") as file:
            reason = file.read(MAX_FAILURE_REASON_CHARS).strip()
    except OSError:
        reason = ""
    if reason:
        return reason
    last = _last_line(folder)
    reason = describe_exit_code(exit_code) + (f"; the last line of its log: {last}" if last else "")
    return reason[:MAX_FAILURE_REASON_CHARS]


def describe_exit_code(exit_code: int) -> str:
    """A sentence about an exit code; a negative one is the number of a signal.

    Example:
        >>> describe_exit_code(7)
        "the job's process ended with exit code 7"
    """
    if exit_code >= 0:
        return f"the job's process ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "a signal"
    hint = ", possibly because memory ran out" if name == "SIGKILL" else ""
    return f"the job's process was ended by {name} (signal {-exit_code}){hint}"


def _last_line(folder: JobFolder) -> str:
    try:
        with folder.log_file.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
