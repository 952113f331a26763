"""Formats numbers for findings: short, with units."""

from __future__ import annotations


def seconds(value: float) -> str:
    """
    >>> seconds(2094), seconds(5.0), seconds(0.0034), seconds(0.0000071)
    ('34.9 min', '5.00 s', '3.40 ms', '7.1 µs')
    """
    size = abs(value)
    if size >= 5400:
        return f"{value / 3600:.1f} h"
    if size >= 600:
        return f"{value / 60:.1f} min"
    if size >= 1:
        return f"{value:.2f} s" if size < 100 else f"{value:.0f} s"
    if size >= 1e-3:
        return f"{value * 1e3:.2f} ms" if size < 0.01 else f"{value * 1e3:.1f} ms"
    return f"{value * 1e6:.1f} µs"


def share(value: float) -> str:
    """
    >>> share(0.1234), share(0.004)
    ('12%', '0.4%')
    """
    return f"{value:.0%}" if value >= 0.095 or value == 0 else f"{value:.1%}"


def size(value: float) -> str:
    """
    >>> size(3.2e9), size(512)
    ('3.2 GB', '512 B')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} B"


def count(number: int, thing: str, things: str = "") -> str:
    """
    >>> count(1, "step"), count(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
