"""Bar charts: one value per bar with an optional interval, or stacked parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from breedclf.reporting.axes import Scale, linear_ticks, span, x_ticks
from breedclf.reporting.formats import Format, percent, plain
from breedclf.reporting.svg import LINE_PX, Drawing, figure, label, line, no_data, tag, text_width

_BAR_PX = 16.0
_PITCH_PX = 24.0
_PLOT_PX = 200.0


@dataclass(frozen=True)
class Bar:
    """A value and its name; `low` and `high` draw an interval around it, `note` follows the value."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    tone: str = ""


def bar_chart(
    title: str,
    bars: Sequence[Bar],
    *,
    format: Format = plain,  # noqa: A002
    value_label: str = "",
    horizontal: bool = True,
    most: int = 40,
    maximum: float | None = None,
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw one bar per value, from zero; at most `most` bars are drawn, with a note about the rest.

    `maximum` sets the end of the axis, such as 1 for shares. Use vertical bars for few bars with short names.
    """
    usable = [bar for bar in bars if math.isfinite(bar.value)]
    drawn = usable[:most]
    ends = [end for bar in drawn for end in (bar.value, bar.low, bar.high) if end is not None and math.isfinite(end)]
    low, high = span([*ends, *([] if maximum is None else [maximum])], from_zero=True, margin=0)
    left_out = f"The first {most} of {len(usable)} are shown." if len(usable) > most else ""

    def draw(width: float) -> Drawing:
        if not drawn:
            return no_data(width)
        if horizontal:
            return _horizontal(width, drawn, low, high, format, value_label)
        return _vertical(width, drawn, low, high, format, value_label)

    listed = "; ".join(f"{bar.name} {format(bar.value)}" for bar in drawn[:12])
    more = f"; and {len(usable) - 12} more" if len(usable) > 12 else ""
    return figure(
        title, draw, description=f"Bar chart. {listed or 'No data'}{more}.", full=full,
        note=" ".join(part for part in (note, left_out) if part),
    )  # fmt: skip


def stacked_bar_chart(
    title: str,
    categories: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    format: Format = plain,  # noqa: A002
    value_label: str = "",
    shares: bool = False,
    most: int = 40,
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw one horizontal bar per category, stacked from its parts; `shares` scales each bar to 100%.

    Raises:
        ValueError: a part hasn't one value for each category, or a value is negative.
    """
    for name, values in parts.items():
        if len(values) != len(categories):
            raise ValueError(f"part {name!r} has {len(values)} values for {len(categories)} categories")
        if any(value < 0 for value in values):
            raise ValueError(f"part {name!r} holds a negative value, which can't be stacked")
    rows = []
    for index, category in enumerate(categories[:most]):
        values = [value if math.isfinite(value := values[index]) else 0.0 for values in parts.values()]
        total = sum(values)
        rows.append((category, [value / total if shares and total else value for value in values], total))
    form = percent if shares else format
    high = 1.0 if shares else span([total for *_, total in rows], from_zero=True, margin=0)[1]
    left_out = f"The first {most} of {len(categories)} are shown." if len(categories) > most else ""

    def draw(width: float) -> Drawing:
        if not any(total for *_, total in rows):
            return no_data(width)
        left = _names_room([name for name, *_ in rows], width)
        scale = Scale(0, high, left, width - 14 if shares else width - 20 - text_width(format(high)))
        bottom = 6 + _PITCH_PX * len(rows)
        return Drawing(bottom + 24 + (LINE_PX if value_label else 0), body(scale, bottom))

    def body(scale: Scale, bottom: float) -> Iterator[Markup]:
        yield from x_ticks(scale, bottom, form, grid_top=4)
        for row, (name, values, total) in enumerate(rows):
            middle = 6 + _PITCH_PX * (row + 0.5)
            yield label(scale.start - 8, middle, name, "end", room=scale.start - 10)
            done = 0.0
            for index, (part, value) in enumerate(zip(parts, values, strict=True)):
                if value > 0:
                    yield _rect(
                        scale(done), middle - _BAR_PX / 2, scale(done + value) - scale(done), _BAR_PX,
                        f"mark gap s{index % 8}", f"{name}, {part}: {form(value)}",
                    )  # fmt: skip
                done += value
            if not shares:
                yield label(scale(total) + 5, middle, format(total), "quiet")
        yield from _value_label(scale, bottom, value_label)

    listed = "; ".join(
        f"{name}: " + ", ".join(f"{part} {form(value)}" for part, value in zip(parts, values, strict=True))
        for name, values, _ in rows[:8]
    )
    return figure(
        title, draw, description=f"Stacked bar chart. {listed or 'No data'}.", legend=list(parts), full=full,
        note=" ".join(part for part in (note, left_out) if part),
    )  # fmt: skip


def _horizontal(width: float, bars: Sequence[Bar], low: float, high: float, form: Format, value_label: str) -> Drawing:
    left = _names_room([bar.name for bar in bars], width)
    values = [form(bar.value) + (f" {bar.note}" if bar.note else "") for bar in bars]
    right = min(max(text_width(value) for value in values) + 10, width * 0.35)
    scale = Scale(low, high, left, width - right)
    bottom = 6 + _PITCH_PX * len(bars)

    def body() -> Iterator[Markup]:
        yield from x_ticks(scale, bottom, form, grid_top=4)
        for row, (bar, value) in enumerate(zip(bars, values, strict=True)):
            middle = 6 + _PITCH_PX * (row + 0.5)
            yield label(left - 8, middle, bar.name, "end", room=left - 10)
            start, stop = sorted((scale(0), scale(bar.value)))
            yield _rect(
                start, middle - _BAR_PX / 2, max(stop - start, 1), _BAR_PX, _bar_css(bar), f"{bar.name}: {value}"
            )
            if bar.low is not None and bar.high is not None:
                yield _interval(scale(bar.low), middle, scale(bar.high), middle, 4)
            end = max(stop, scale(0) if bar.high is None else scale(bar.high))
            yield label(end + 6, middle, value, "quiet", room=width - end - 6)
        yield line(scale(0), 4, scale(0), bottom, "axis")
        yield from _value_label(scale, bottom, value_label)

    return Drawing(bottom + 24 + (LINE_PX if value_label else 0), body())


def _vertical(width: float, bars: Sequence[Bar], low: float, high: float, form: Format, value_label: str) -> Drawing:
    top = 44.0 if value_label else 22.0
    scale = Scale(low, high, top + _PLOT_PX, top)
    ticks = linear_ticks(low, high, 5)
    left = max(text_width(form(tick)) for tick in ticks) + 10
    pitch = (width - left - 6) / len(bars)
    thick = min(pitch * 0.7, 56)
    show_values = max(text_width(form(bar.value)) for bar in bars) <= pitch

    def body() -> Iterator[Markup]:
        for tick in ticks:
            yield line(left, scale(tick), width - 6, scale(tick), "grid")
            yield label(left - 7, scale(tick), form(tick), "tick end")
        every = max(1, math.ceil(34 / pitch))
        for index, bar in enumerate(bars):
            middle = left + pitch * (index + 0.5)
            upper, lower = sorted((scale(bar.value), scale(0)))
            tip = f"{bar.name}: {form(bar.value)}" + (f" {bar.note}" if bar.note else "")
            yield _rect(middle - thick / 2, upper, thick, max(lower - upper, 1), _bar_css(bar), tip)
            if bar.low is not None and bar.high is not None:
                yield _interval(middle, scale(bar.low), middle, scale(bar.high), 4)
            if show_values:
                crown = min(upper, upper if bar.high is None else scale(bar.high))
                yield label(middle, crown - 9, form(bar.value), "quiet middle")
            if index % every == 0:
                yield label(middle, top + _PLOT_PX + 13, bar.name, "tick middle", room=pitch * every - 4)
        yield line(left, scale(0), width - 6, scale(0), "axis")
        if value_label:
            yield label(2, 9, value_label, "axis-name", room=width - 4)

    return Drawing(top + _PLOT_PX + 26, body())


def _bar_css(bar: Bar) -> str:
    css = f"toned tone-{bar.tone}" if bar.tone else "mark s0"
    return css if bar.low is None else f"{css} soft"


def _names_room(names: Sequence[str], width: float) -> float:
    return min(max((text_width(name) for name in names), default=0) + 12, width * 0.4)


def _rect(x: float, y: float, width: float, height: float, css: str, tip: str) -> Markup:
    return tag("rect", css, tip=tip, x=x, y=y, width=width, height=height, rx=2)


def _interval(x1: float, y1: float, x2: float, y2: float, cap: float) -> Markup:
    """A line with a cap at both ends, horizontal or vertical."""
    across, along = (0.0, cap) if y1 == y2 else (cap, 0.0)
    path = (
        f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"
        f"M{x1 - across:.1f} {y1 - along:.1f}L{x1 + across:.1f} {y1 + along:.1f}"
        f"M{x2 - across:.1f} {y2 - along:.1f}L{x2 + across:.1f} {y2 + along:.1f}"
    )
    return tag("path", "whisker", d=path)


def _value_label(scale: Scale, bottom: float, text: str) -> Iterator[Markup]:
    if text:
        yield label(
            (scale.start + scale.stop) / 2, bottom + 32, text, "axis-name middle", room=scale.stop - scale.start
        )
