"""How many cores this process may use, by its affinity and its container's quota; without torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Number of cores that this process may keep busy, at least 1.

    In a container it can be smaller than the machine's: by the CPUs it is bound to, or by a quota of CPU time, of which
    a part of a core is left to the system.

    Args:
        root: where `proc` and `sys` are.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores_within(bound, quotas(root))


def cores_within(bound: int, quotas: Iterator[float] | list[float]) -> int:
    """Whole cores within the smallest quota.

    Example:
        >>> cores_within(16, [3.5, 8.0]), cores_within(4, []), cores_within(4, [0.5])
        (3, 4, 1)
    """
    return max(1, int(min([bound, *quotas])))


def quotas(root: Path) -> Iterator[float]:
    """The cores' worth of CPU time that each control group around this process allows (Linux, versions 1 and 2)."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        unified = root / "sys/fs/cgroup"
        if not controllers:
            for folder in _upwards(unified, group):
                yield from _quota(_text(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for folder in _upwards(unified / "cpu", group):
                yield from _quota([_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")])


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The folders of a group and those around it; in a container the group's own path may be another."""
    folder = mount / group.lstrip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _quota(words: list[str]) -> Iterator[float]:
    """The quota over the period, both in microseconds; nothing if there is no limit."""
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
