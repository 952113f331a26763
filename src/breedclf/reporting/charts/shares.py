"""Pie and donut charts: parts of a whole, listed with their shares; small parts are merged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from breedclf.reporting.formats import Format, percent, plain
from breedclf.reporting.svg import Drawing, figure, label, no_data, number, tag

_RADIUS = 84.0
_ROW_PX = 21.0
_MOST = 8


def pie_chart(
    title: str,
    slices: Sequence[tuple[str, float]],
    *,
    format: Format = plain,  # noqa: A002
    note: str = "",
) -> Markup:
    """Draw parts of a whole as a pie; see `donut_chart`."""
    return _round_chart(title, slices, format, hole=0.0, center="", note=note)


def donut_chart(
    title: str,
    slices: Sequence[tuple[str, float]],
    *,
    format: Format = plain,  # noqa: A002
    center: str | None = None,
    note: str = "",
) -> Markup:
    """Draw parts of a whole as a ring, clockwise in the given order.

    Zeros and non-finite values are omitted. If there are more than eight parts, the smallest are merged into one.

    Args:
        title: above the chart.
        slices: name and value of each part.
        format: formats the values next to their shares.
        center: text in the middle; the total if None.
        note: a remark below the chart.

    Raises:
        ValueError: a value is negative.
    """
    return _round_chart(title, slices, format, hole=0.62, center=center, note=note)


def _round_chart(
    title: str, slices: Sequence[tuple[str, float]], form: Format, *, hole: float, center: str | None, note: str
) -> Markup:
    if negative := [name for name, value in slices if value < 0]:
        raise ValueError(f"part {negative[0]!r} is negative: a whole has no negative parts")
    parts = _merged([(name, value) for name, value in slices if math.isfinite(value) and value > 0])
    total = sum(value for _, value in parts)

    def draw(width: float) -> Drawing:
        if not parts:
            return no_data(width)
        beside = width >= 480
        listed = _ROW_PX * len(parts)
        height = max(2 * _RADIUS + 12, listed + 12) if beside else 2 * _RADIUS + 24 + listed
        middle = (_RADIUS + 8, height / 2 if beside else _RADIUS + 6)
        text = (2 * _RADIUS + 40, (height - listed) / 2) if beside else (8.0, 2 * _RADIUS + 20)
        return Drawing(height, [*ring(middle), *listing(*text, width)])

    def ring(middle: tuple[float, float]) -> Iterator[Markup]:
        at = 0.0
        for index, (name, value) in enumerate(parts):
            tip = f"{name}: {form(value)} ({percent(value / total)})"
            yield tag("path", f"mark gap s{index}", tip=tip, d=_sector(middle, at, at + value / total, hole))
            at += value / total
        words = form(total) if center is None else center
        if words:
            yield label(*middle, words, "strong middle", room=2 * _RADIUS * hole - 8)

    def listing(x: float, y: float, width: float) -> Iterator[Markup]:
        for index, (name, value) in enumerate(parts):
            row = y + _ROW_PX * (index + 0.5)
            figures = f"{percent(value / total)}  {form(value)}"
            figures_at = min(width - 4, x + 330)
            yield tag("rect", f"mark s{index}", x=x, y=row - 6, width=12, height=12, rx=2)
            yield label(x + 20, row, name, room=figures_at - x - 26 - 6.2 * len(figures))
            yield label(figures_at, row, figures, "quiet end")

    listed = "; ".join(f"{name} {percent(value / total)}" for name, value in parts)
    kind = "Donut" if hole else "Pie"
    return figure(title, draw, description=f"{kind} chart. {listed or 'No data'}.", note=note)


def _merged(parts: list[tuple[str, float]]) -> list[tuple[str, float]]:
    if len(parts) <= _MOST:
        return parts
    smallest = sorted(parts, key=lambda part: part[1])[: len(parts) - _MOST + 1]
    kept = [part for part in parts if part not in smallest][: _MOST - 1]
    return [*kept, (f"{len(parts) - len(kept)} others", sum(v for _, v in parts) - sum(v for _, v in kept))]


def _sector(middle: tuple[float, float], start: float, stop: float, hole: float) -> str:
    """The outline of a share from `start` to `stop` (0 to 1, clockwise from the top)."""
    stop = min(stop, start + 0.9995)  # a full circle wouldn't be drawn as an arc
    large = 1 if stop - start > 0.5 else 0

    def at(turn: float, radius: float) -> str:
        angle = 2 * math.pi * turn
        return f"{middle[0] + radius * math.sin(angle):.2f} {middle[1] - radius * math.cos(angle):.2f}"

    outer = f"M{at(start, _RADIUS)}A{number(_RADIUS)} {number(_RADIUS)} 0 {large} 1 {at(stop, _RADIUS)}"
    if not hole:
        return f"{outer}L{middle[0]:.2f} {middle[1]:.2f}z"
    inner = _RADIUS * hole
    return f"{outer}L{at(stop, inner)}A{number(inner)} {number(inner)} 0 {large} 0 {at(start, inner)}z"
