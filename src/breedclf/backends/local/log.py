"""A job's log on disk: bounded, however much the job prints, and read for metrics on the way."""

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
    """Keeps the begin of what is written, and, once that is full, its end; metrics go on being read in between."""

    def __init__(self, path: Path, *, max_bytes: int, tail_bytes: int | None = None) -> None:
        self._tail_bytes = min(1 << 20, max_bytes // 4) if tail_bytes is None else tail_bytes
        self._head_bytes = max_bytes - self._tail_bytes
        self._file = path.open("ab", buffering=0)
        self._written = self._file.tell()
        self._left_out = 0
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
        """Append bytes.

        Raises:
            OSError: the disk is full.
        """
        room = max(0, self._head_bytes - self._written)
        if not self._full:
            self._write_all(part[:room])
            part = part[room:]
        if part and not self._full:
            self._full = True
            self._write_all(b"\n[breedclf: the log is too long; what follows is left out, but for its end]\n")
        if part:
            self._keep(part)

    def close(self) -> None:
        """Write the end that was kept, and close the file."""
        try:
            if self._tail_size:
                left_out = self._left_out
                if left_out:
                    self._write_all(f"[breedclf: {left_out} bytes were left out here]\n".encode())
                self._write_all(b"".join(self._tail))
                self._tail.clear()
                self._tail_size = 0
        finally:
            self._file.close()

    def _keep(self, part: bytes) -> None:
        self._tail.append(part)
        self._tail_size += len(part)
        while self._tail_size - len(self._tail[0]) >= self._tail_bytes:
            gone = self._tail.popleft()
            self._tail_size -= len(gone)
            self._left_out += len(gone)

    def _write_all(self, part: bytes) -> None:
        view = memoryview(part)
        while view:
            count = self._file.write(view) or 0
            self._written += count
            view = view[count:]


class MetricReader:
    """Finds metrics in pieces of a log cut anywhere."""

    def __init__(self, definitions: Sequence[MetricDefinition]) -> None:
        self._definitions = tuple(definitions)
        self._patterns = [re.compile(definition.regex) for definition in definitions]
        self._rest = b""

    def feed(self, part: bytes) -> list[dict[str, float]]:
        """The metrics of each line that this piece ends."""
        whole, newline, self._rest = (self._rest + part).rpartition(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            self._rest = self._rest[-_LONGEST_LINE_BYTES:]
        return self._find(whole) if newline else []

    def end(self) -> list[dict[str, float]]:
        """The metrics of a last line without an end."""
        rest, self._rest = self._rest, b""
        return self._find(rest)

    def _find(self, lines: bytes) -> list[dict[str, float]]:
        text = lines.decode("utf-8", errors="replace")
        if not any(pattern.search(text) for pattern in self._patterns):
            return []
        found = (match_metrics(line[:_LONGEST_LINE_BYTES], self._definitions) for line in text.split("\n"))
        return [values for values in found if values]
