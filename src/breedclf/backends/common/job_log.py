"""A job's log on disk: limited in size, and searched for metrics while it is written."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from breedclf.jobs.metric_lines import MetricDefinition, match_metrics

_LONGEST_LINE_BYTES = 64 << 10


class BoundedLog:
    """A log file of at most `max_bytes`: the start of the output and, from a ring buffer, its last `tail_bytes`."""

    def __init__(self, path: Path, *, max_bytes: int, tail_bytes: int | None = None) -> None:
        self._tail_bytes = min(1 << 20, max_bytes // 4) if tail_bytes is None else tail_bytes
        self._head_bytes = max_bytes - self._tail_bytes
        self._file = path.open("ab", buffering=0)
        self._written = self._file.tell()
        self._dropped_bytes = 0
        self._full = False
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, part: bytes) -> None:
        """Append bytes to the log.

        Raises:
            OSError: the disk is full.
        """
        free = max(0, self._head_bytes - self._written)
        if not self._full:
            self._write_all(part[:free])
            part = part[free:]
        if part and not self._full:
            self._full = True
            self._write_all(b"\n[breedclf: the log is too long; only its end follows]\n")
        if part:
            self._buffer(part)

    def close(self) -> None:
        """Write the buffered end, and close the file."""
        try:
            if self._tail_size:
                dropped = self._dropped_bytes
                if dropped:
                    self._write_all(f"[breedclf: {dropped} bytes were dropped here]\n".encode())
                self._write_all(b"".join(self._tail))
                self._tail.clear()
                self._tail_size = 0
        finally:
            self._file.close()

    def _buffer(self, part: bytes) -> None:
        self._tail.append(part)
        self._tail_size += len(part)
        while self._tail_size - len(self._tail[0]) >= self._tail_bytes:
            dropped = self._tail.popleft()
            self._tail_size -= len(dropped)
            self._dropped_bytes += len(dropped)

    def _write_all(self, part: bytes) -> None:
        view = memoryview(part)
        while view:
            count = self._file.write(view) or 0
            self._written += count
            view = view[count:]


class MetricReader:
    """Finds metrics in a log that arrives in pieces of any size."""

    def __init__(self, definitions: Sequence[MetricDefinition]) -> None:
        self._definitions = tuple(definitions)
        self._patterns = [re.compile(definition.regex) for definition in definitions]
        self._rest = b""

    def feed(self, part: bytes) -> list[dict[str, float]]:
        """The metrics of each line that this piece completes."""
        whole, newline, self._rest = (self._rest + part).rpartition(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            self._rest = self._rest[-_LONGEST_LINE_BYTES:]
        return self._find(whole) if newline else []

    def end(self) -> list[dict[str, float]]:
        """The metrics of a last line without a newline."""
        rest, self._rest = self._rest, b""
        return self._find(rest)

    def _find(self, lines: bytes) -> list[dict[str, float]]:
        text = lines.decode("utf-8", errors="replace")
        if not any(pattern.search(text) for pattern in self._patterns):
            return []
        found = (match_metrics(line[:_LONGEST_LINE_BYTES], self._definitions) for line in text.split("\n"))
        return [values for values in found if values]
