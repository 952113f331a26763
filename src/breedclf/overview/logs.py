"""Logs as pages show them: the end of one, or a part of it, as lines without what only machines and terminals read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from breedclf.jobs import Backend, TailingBackend
from breedclf.jobs.metric_lines import MARKER
from breedclf.text.printable import without_terminal_codes

END_BYTES = 32 << 10
PART_BYTES = 128 << 10
_LONGEST_LINE = 4_000


@dataclass(frozen=True)
class LogView:
    """Lines of a log.

    `position` is where the text starts, `after` where the next part does, `size` the whole length; each is None where
    the backend doesn't tell. `hidden` is the number of lines that were left out, since only machines read them.
    """

    lines: tuple[str, ...]
    position: int | None = 0
    after: int | None = None
    size: int | None = None
    hidden: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "lines": list(self.lines)}


def log_end(backend: Backend, name: str) -> LogView:
    """The end of a job's log, read without what is before it if the backend can.

    Raises:
        JobError: there is no such job, or its log can't be read.
    """
    if isinstance(backend, TailingBackend):
        tail = backend.log_tail(name, END_BYTES)
        return _view(tail.text, tail.position, None, tail.size)
    text = ""
    position = 0
    while True:
        part, position = backend.read_log(name, position)
        if not part:
            break
        text = (text + part)[-END_BYTES:]
    return _view(text, None, None, position)


def log_part(backend: Backend, name: str, position: int) -> LogView:
    """The lines of a job's log that start in a part of it, from a position.

    Where the length of a log is known, any position will do; elsewhere it is 0 or the `after` of another part.

    Raises:
        JobError: there is no such job, or its log can't be read.
    """
    if not isinstance(backend, TailingBackend) or (size := backend.log_tail(name, 0).size) is None:
        text, after = backend.read_log(name, position)
        return _view(text, position, after if text else None, None)
    if position >= size:
        position = max(0, size - 1) // PART_BYTES * PART_BYTES
    start = max(0, position - 1)
    raw = backend.read_log(name, start)[0].encode("utf-8", errors="replace")
    begin = 0 if position == 0 else raw.find(b"\n", 0, PART_BYTES) + 1 or position - start
    end = position - start + PART_BYTES
    newline = raw.find(b"\n", max(begin, end - 1))
    text = raw[begin : newline + 1 if newline >= 0 else max(begin, end)].decode("utf-8", errors="replace")
    return _view(text, position, position + PART_BYTES if position + PART_BYTES < size else None, size)


def whole_log(backend: Backend, name: str) -> Iterator[bytes]:
    """A job's whole log as it is, in pieces.

    Raises:
        JobError: there is no such job, or its log can't be read.
    """
    position = 0
    while True:
        text, position = backend.read_log(name, position)
        if not text:
            return
        yield text.encode("utf-8", errors="replace")


def readable_lines(text: str) -> tuple[tuple[str, ...], int]:
    """The lines that people read, and how many others there are.

    Example:
        >>> readable_lines('epoch 1\\nbreedclf-metrics {"epoch": 1}\\n')
        (('epoch 1',), 1)
    """
    lines = without_terminal_codes(text).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    kept = [_shortened(line) for line in lines if not line.lstrip().startswith(f"{MARKER} {{")]
    return tuple(kept), len(lines) - len(kept)


def _view(text: str, position: int | None, after: int | None, size: int | None) -> LogView:
    lines, hidden = readable_lines(text)
    return LogView(lines, position, after, size, hidden)


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[:_LONGEST_LINE]} [… {len(line) - _LONGEST_LINE:,} characters more]"
