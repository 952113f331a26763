"""How much memory and disk space the outputs of the frozen backbone may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

LOADED_BYTES = 1 << 28
"""Features of up to this size, in float32, are loaded on a CPU; larger ones are read when a batch needs them."""

_SHARE_OF_FREE_MEMORY = 0.5
_SHARE_OF_FREE_DISK = 0.5
_SHARE_OF_CACHE = 0.5
_SHARE_OF_FREE_GPU = 0.25
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass
class MemoryBudget:
    """Memory or disk space that may still be used, in bytes."""

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

    @classmethod
    def of_loaded_features(cls, device: torch.device) -> MemoryBudget:
        """What the features of a run may take on its device: on a GPU, a quarter of the free memory."""
        if device.type != "cuda":
            return cls(LOADED_BYTES)
        return cls(torch.cuda.mem_get_info(device)[0] * _SHARE_OF_FREE_GPU)

    @classmethod
    def of_disk(cls, folder: Path, max_bytes: int) -> MemoryBudget:
        """Half of what is free on the disk of a folder, or of the size limit of the caches if that is less.

        Raises:
            OSError: the disk can't be read.
        """
        free = psutil.disk_usage(str(nearest_existing(folder))).free
        return cls(min(free * _SHARE_OF_FREE_DISK, max_bytes * _SHARE_OF_CACHE))

    def take(self, size: int) -> bool:
        """Reserve `size` bytes if they fit; returns whether they do."""
        if size > self.left:
            return False
        self.left -= size
        return True


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest of its parents that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
