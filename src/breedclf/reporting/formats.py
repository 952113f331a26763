"""Formats numbers for readers: few digits, a unit, and a dash for NaN."""

from __future__ import annotations

import math
from collections.abc import Callable

Format = Callable[[float], str]

ABSENT = "–"
_DURATIONS = ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (60.0, 1.0, "s"))


def plain(value: float, digits: int = 4) -> str:
    """Format with up to `digits` significant digits and thousands separators.

    Example:
        >>> plain(12345.6), plain(0.00005), plain(0.25), plain(float("nan"))
        ('12,346', '5e-05', '0.25', '–')
    """
    if not math.isfinite(value):
        return ABSENT if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 14:
        return f"{value:.{digits}g}"
    text = f"{value:,.{max(0, digits - 1 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def whole(value: float) -> str:
    """Format a count.

    Example:
        >>> whole(1234)
        '1,234'
    """
    return f"{round(value):,}" if math.isfinite(value) else ABSENT


def percent(value: float) -> str:
    """Format a share from 0 to 1 as a percentage with at most one decimal.

    Example:
        >>> percent(0.94), percent(0.9754), percent(1)
        ('94%', '97.5%', '100%')
    """
    if not math.isfinite(value):
        return ABSENT
    return f"{value * 100:.1f}".removesuffix(".0") + "%"


def seconds(value: float) -> str:
    """Format a duration in seconds with a suitable unit.

    Example:
        >>> seconds(0.0123), seconds(75), seconds(3700), seconds(0)
        ('12.3 ms', '1 min 15 s', '1 h 2 min', '0 s')
    """
    if not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0 s"
    if value < 0:
        return "−" + seconds(-value)
    for limit, unit, name in _DURATIONS:
        if value < limit:
            return f"{plain(value / unit, 3)} {name}"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
