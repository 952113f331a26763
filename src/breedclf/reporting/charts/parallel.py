"""Parallel coordinates: the values of each trial on every axis, with better trials more opaque."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from breedclf.reporting.axes import Scale, span
from breedclf.reporting.formats import Format, plain
from breedclf.reporting.svg import Drawing, figure, label, line, no_data, polyline, text_width

LINES_UP_TO = 400
_TOP, _PLOT_PX = 40.0, 230.0
_NAMES_UP_TO = 12

Row = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Dimension:
    """An axis: the key of its value in each row; text values make it categorical."""

    key: str
    label: str = ""
    log: bool = False
    format: Format = plain


def parallel_coordinates(
    title: str,
    dimensions: Sequence[Dimension],
    rows: Sequence[Row],
    *,
    highlight: int | None = None,
    tips: Sequence[str] = (),
    smaller_is_better: bool = True,
    note: str = "",
) -> Markup:
    """Draw one line per row across the axes; the last axis is the outcome, and better lines are more opaque.

    Rows with a missing or non-finite value are omitted, and a note counts them.
    """
    complete = [index for index, row in enumerate(rows) if _complete(row, dimensions)]
    drawn = complete
    if len(complete) > LINES_UP_TO:
        picked = np.linspace(0, len(complete) - 1, LINES_UP_TO).round().astype(int)
        drawn = [complete[index] for index in picked]
    if highlight in complete and highlight not in drawn:
        drawn = [*drawn, highlight]
    names = {d.key: _names([rows[i] for i in complete], d) for d in dimensions}
    strength = _strength([rows[i] for i in drawn], dimensions, smaller_is_better)

    def draw(width: float) -> Drawing:
        if not drawn or len(dimensions) < 2:
            return no_data(width, "No data." if len(dimensions) >= 2 else "Parallel coordinates need two axes or more.")
        left, right = 34.0, width - 34.0
        places = np.linspace(left, right, len(dimensions))
        scales = [_scale(dimension, names[dimension.key], [rows[i] for i in complete]) for dimension in dimensions]
        return Drawing(_TOP + _PLOT_PX + 30, body(places.tolist(), scales, width))

    def body(places: list[float], scales: list[Scale], width: float) -> Iterator[Markup]:
        for index in sorted(range(len(drawn)), key=lambda i: (drawn[i] == highlight, strength[i])):
            row = rows[drawn[index]]
            points = [
                (x, _place(row[d.key], s, names[d.key])) for x, d, s in zip(places, dimensions, scales, strict=True)
            ]
            tip = tips[drawn[index]] if tips else ""
            if drawn[index] == highlight:
                yield polyline(points, "series chosen", tip)
            else:
                yield polyline(points, "series s0 thin", tip, opacity=f"{0.15 + 0.75 * strength[index]:.2f}")
        room = (places[1] - places[0]) - 8
        for number, (x, dimension, scale) in enumerate(zip(places, dimensions, scales, strict=True)):
            yield line(x, _TOP, x, _TOP + _PLOT_PX, "whisker")
            yield from _axis(x, dimension, scale, names[dimension.key], room, width, raised=number % 2 == 1)

    left_out = len(rows) - len(complete)
    notes = [note, f"{left_out} without a value are omitted." if left_out else ""]
    notes.append(f"{len(drawn)} of {len(complete)} lines are shown." if len(drawn) < len(complete) else "")
    over = ", ".join(dimension.label or dimension.key for dimension in dimensions)
    return figure(
        title, draw, full=True, note=" ".join(part for part in notes if part),
        description=f"Parallel coordinates of {len(complete)} rows over {over}.",
    )  # fmt: skip


def _axis(
    x: float, dimension: Dimension, scale: Scale, names: Sequence[str], room: float, width: float, *, raised: bool
) -> Iterator[Markup]:
    title = dimension.label or dimension.key
    half = min(text_width(title), 2 * room) / 2
    center = min(max(x, half + 2), width - half - 2)
    yield label(center, 10 if raised else 26, title, "strong small middle", room=2 * room)
    ticks = [(name, float(index)) for index, name in enumerate(names[:_NAMES_UP_TO])] or [
        (dimension.format(tick), tick) for tick in scale.ticks(5)
    ]
    for text, value in ticks:
        y = scale(value)
        last = x + 6 + text_width(text) > width
        yield line(x - 3, y, x + 3, y, "whisker")
        yield label(x - 5 if last else x + 5, y, text, "tick small halo" + (" end" if last else ""), room=max(room, 28))


def _complete(row: Row, dimensions: Sequence[Dimension]) -> bool:
    for dimension in dimensions:
        value = row.get(dimension.key)
        if value is None or (
            not isinstance(value, str) and (not math.isfinite(value) or (dimension.log and value <= 0))
        ):
            return False
    return True


def _names(rows: Sequence[Row], dimension: Dimension) -> list[str]:
    """The names of a categorical axis, in order of first appearance; empty for a numeric axis."""
    values = [row[dimension.key] for row in rows]
    return list(dict.fromkeys(str(value) for value in values)) if any(isinstance(v, str) for v in values) else []


def _scale(dimension: Dimension, names: Sequence[str], rows: Sequence[Row]) -> Scale:
    bottom = _TOP + _PLOT_PX
    if names:
        return Scale(-0.5, len(names) - 0.5, bottom, _TOP)
    low, high = span([float(row[dimension.key]) for row in rows], log=dimension.log)
    return Scale(low, high, bottom, _TOP, dimension.log)


def _place(value: float | int | str, scale: Scale, names: Sequence[str]) -> float:
    return scale(float(names.index(str(value)))) if names else scale(float(value))


def _strength(rows: Sequence[Row], dimensions: Sequence[Dimension], smaller_is_better: bool) -> list[float]:
    """From 0 (worst) to 1 (best) by rank of the last axis."""
    if not rows or not dimensions or any(isinstance(row[dimensions[-1].key], str) for row in rows):
        return [1.0] * len(rows)
    outcome = np.array([float(row[dimensions[-1].key]) for row in rows])
    rank = np.argsort(np.argsort(-outcome if smaller_is_better else outcome))
    return [float(r) for r in rank / max(1, len(rows) - 1)]
