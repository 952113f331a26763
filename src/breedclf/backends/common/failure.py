"""Why a job failed, in words: its own, if it left any, or those of its exit code."""

from __future__ import annotations

import signal

from breedclf.backends.common.folder import JobFolder
from breedclf.jobs import MAX_FAILURE_REASON_CHARS

_TAIL_BYTES = 4_096


def failure_reason(folder: JobFolder, exit_code: int) -> str:
    """The first 1,024 characters of the job's `failure` file, or what its exit code and its log tell."""
    try:
        with folder.failure_file.open(encoding="utf-8", errors="replace") as file:
            own = file.read(MAX_FAILURE_REASON_CHARS).strip()
    except OSError:
        own = ""
    if own:
        return own
    last = _last_line(folder)
    return (words_of_code(exit_code) + (f"; the last line of its log: {last}" if last else ""))[
        :MAX_FAILURE_REASON_CHARS
    ]


def words_of_code(exit_code: int) -> str:
    """What an exit code tells; a negative one is that of a signal.

    Example:
        >>> words_of_code(7)
        "the job's process ended with exit code 7"
    """
    if exit_code >= 0:
        return f"the job's process ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "a signal"
    hint = ", as happens when memory runs out" if name == "SIGKILL" else ""
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
