"""Timelines: spans on lanes; spans too short to see are merged, shaded by their share of the time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from breedclf.reporting.axes import Scale, Values, x_ticks
from breedclf.reporting.formats import Format, seconds, whole
from breedclf.reporting.svg import LINE_PX, Drawing, figure, label, no_data, tag, text_width

SPANS_UP_TO = 1_000
_LANE_PX = 26.0
_COLUMN_PX = 2


@dataclass(frozen=True)
class Span:
    """A span from `start` to `end` on a lane; `kind` determines its color, `name` is its tooltip."""

    lane: str
    start: float
    end: float
    kind: str = ""
    name: str = ""


def timeline_chart(
    title: str,
    spans: Sequence[Span],
    *,
    format: Format = seconds,  # noqa: A002
    x_label: str = "",
    start: float | None = None,
    end: float | None = None,
    note: str = "",
) -> Markup:
    """Draw spans on lanes, in order of first appearance of lanes and kinds.

    Times are in seconds unless `format` says otherwise; `start` and `end` select a time window.

    Raises:
        ValueError: a span ends before it starts.
    """
    for one in spans:
        if one.end < one.start:
            raise ValueError(
                f"span {one.name or one.kind or one.lane!r} ends at {one.end}, before its start {one.start}"
            )
    finite = [one for one in spans if math.isfinite(one.start) and math.isfinite(one.end)]
    low = min((one.start for one in finite), default=0.0) if start is None else start
    high = max((one.end for one in finite), default=0.0) if end is None else end
    high = high if high > low else low + 1
    visible = [one for one in finite if one.end >= low and one.start <= high]
    lanes, kinds = list(dict.fromkeys(one.lane for one in visible)), list(dict.fromkeys(one.kind for one in visible))
    merge = len(visible) > SPANS_UP_TO

    def draw(width: float) -> Drawing:
        if not visible:
            return no_data(width)
        left = min(max(text_width(lane) for lane in lanes) + 12, width * 0.35)
        bottom = 6 + _LANE_PX * len(lanes)
        return Drawing(bottom + 24 + (LINE_PX if x_label else 0), body(Scale(low, high, left, width - 14), bottom))

    def body(scale: Scale, bottom: float) -> Iterator[Markup]:
        yield from x_ticks(scale, bottom, format, grid_top=4)
        for row, lane in enumerate(lanes):
            top = 6 + _LANE_PX * row + 4
            yield label(scale.start - 8, top + 9, lane, "end", room=scale.start - 10)
            own = [one for one in visible if one.lane == lane]
            for index, kind in enumerate(kinds):
                of_kind = [one for one in own if one.kind == kind]
                css = f"mark s{index % 8}"
                yield from _merged(scale, top, css, of_kind) if merge else _single(scale, top, css, of_kind, format)
        if x_label:
            yield label((scale.start + scale.stop) / 2, bottom + 32, x_label, "axis-name middle")

    many = f"{whole(len(visible))} spans: fainter stripes were busy for less of the time." if merge else ""
    return figure(
        title, draw, legend=kinds if len(kinds) > 1 else (), full=True,
        description=f"Timeline of {whole(len(visible))} spans on {len(lanes)} lanes, {format(high - low)} long.",
        note=" ".join(part for part in (note, many) if part),
    )  # fmt: skip


def _single(scale: Scale, top: float, css: str, spans: Sequence[Span], form: Format) -> Iterator[Markup]:
    for one in spans:
        x1, x2 = (min(max(scale(time), scale.start), scale.stop) for time in (one.start, one.end))
        tip = f"{one.name or one.kind or one.lane}: {form(one.end - one.start)} from {form(one.start)}"
        yield tag("rect", css, tip=tip, x=x1, y=top, width=max(x2 - x1, 0.7), height=18, rx=1)


def _merged(scale: Scale, top: float, css: str, spans: Sequence[Span]) -> Iterator[Markup]:
    if not spans:
        return
    columns = int((scale.stop - scale.start) // _COLUMN_PX)
    edges = np.array([[one.start, one.end] for one in spans])
    places = np.clip((edges - scale.low) / (scale.high - scale.low), 0, 1) * columns
    busy = np.diff(_covered(places, np.arange(columns + 1, dtype=float)))
    levels = np.ceil(np.clip(busy, 0, 1) * 5).astype(int)
    changes = np.flatnonzero(np.diff(levels, prepend=-1, append=-1))
    for first, last in pairwise(changes.tolist()):
        if level := int(levels[first]):
            x, width = scale.start + first * _COLUMN_PX, float((last - first) * _COLUMN_PX)
            yield tag("rect", css, x=float(x), y=top, width=width, height=18, fill_opacity=level / 5)


def _covered(places: Values, at: Values) -> Values:
    """The total length of all spans before each position; exact, even if spans overlap."""
    total = np.zeros_like(at)
    for ends, sign in ((places[:, 0], 1.0), (places[:, 1], -1.0)):
        ordered = np.sort(ends)
        sums = np.concatenate(([0.0], np.cumsum(ordered)))
        before = np.searchsorted(ordered, at)
        total += sign * (before * at - sums[before])
    return total
