"""What a journey reports while it runs."""

from __future__ import annotations


class Lines:
    """Collects the lines, to be passed as `progress`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, step: str, line: str) -> None:
        self.lines.append(f"{step}: {line}")

    @property
    def started(self) -> list[str]:
        """The steps that were started, in order."""
        return [line.partition(":")[0] for line in self.lines if line.endswith("...")]
