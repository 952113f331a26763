"""How much memory the outputs of the frozen backbone may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

_SHARE_OF_FREE_MEMORY = 0.5
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass
class MemoryBudget:
    """Memory that may still be used, in bytes."""

    left: float

    @classmethod
    def of_this_machine(cls) -> MemoryBudget:
        """Half of the free memory of the machine, or of the container's limit if that is less."""
        limits = [psutil.virtual_memory().available]
        used = psutil.Process().memory_info().rss
        for path in _CONTAINER_LIMITS:
            try:
                limits.append(int(path.read_text(encoding="ascii")) - used)
            except (OSError, ValueError):  # the file contains "max" if there is no limit
                continue
        return cls(max(0, min(limits)) * _SHARE_OF_FREE_MEMORY)

    def take(self, size: int) -> bool:
        """Reserve `size` bytes if they fit; returns whether they do."""
        if size > self.left:
            return False
        self.left -= size
        return True
