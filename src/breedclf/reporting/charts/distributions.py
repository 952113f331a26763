"""Distributions: histograms and box plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from breedclf.reporting.axes import Frame, Scale, Values, span, usable, x_ticks
from breedclf.reporting.charts.lines import Numbers, Reference
from breedclf.reporting.formats import Format, plain, whole
from breedclf.reporting.svg import LINE_PX, Drawing, figure, label, line, no_data, tag, text_width

_BINS_UP_TO = 60
_OUTLIERS_UP_TO = 40
_PITCH_PX = 30.0


def histogram(
    title: str,
    values: Numbers,
    *,
    x_label: str = "",
    y_label: str = "count",
    x_format: Format = plain,
    bins: int | None = None,
    references: Sequence[Reference] = (),
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw a histogram with equal bins; the data determines their number unless `bins` is given."""
    finite = usable(np.asarray(values, dtype=float))
    counts, edges = _bins(finite, bins)
    description = "Histogram. No data."
    if len(finite):
        low, middle, high = (x_format(float(value)) for value in np.quantile(finite, (0, 0.5, 1)))
        description = f"Histogram of {whole(len(finite))} values from {low} to {high}, median {middle}."
    return _histogram(title, counts, edges, description, x_label, y_label, x_format, references, full, note)


def binned_histogram(
    title: str,
    counts: Numbers,
    edges: Numbers,
    *,
    x_label: str = "",
    y_label: str = "count",
    x_format: Format = plain,
    references: Sequence[Reference] = (),
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw a precomputed histogram: `counts[i]` values are between `edges[i]` and `edges[i + 1]`."""
    number, border = np.asarray(counts, dtype=float), np.asarray(edges, dtype=float)
    description = "Histogram. No data."
    if number.any():
        low, high = (x_format(float(value)) for value in (border[0], border[-1]))
        description = f"Histogram of {whole(number.sum())} values from {low} to {high}."
    return _histogram(title, number, border, description, x_label, y_label, x_format, references, full, note)


def _histogram(
    title: str,
    counts: Values,
    edges: Values,
    description: str,
    x_label: str,
    y_label: str,
    x_format: Format,
    references: Sequence[Reference],
    full: bool,
    note: str,
) -> Markup:
    marks = [mark for mark in references if mark.axis == "x" and np.isfinite(mark.value)]
    x_range = span(np.append(edges, [mark.value for mark in marks]), margin=0)
    y_range = span(counts.astype(float), from_zero=True)

    def draw(width: float) -> Drawing:
        if not counts.any():
            return no_data(width)
        frame = Frame.fit(width, x_range, y_range, x_label=x_label, y_label=y_label, x_format=x_format, y_format=plain)
        return Drawing(frame.height, body(frame))

    def body(frame: Frame) -> Iterator[Markup]:
        yield from frame.draw()
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
            if count:
                x1, x2, y = frame.x(float(low)), frame.x(float(high)), frame.y(float(count))
                tip = f"{x_format(float(low))} to {x_format(float(high))}: {whole(count)}"
                yield tag("rect", "mark gap s0", tip=tip, x=x1, y=y, width=max(x2 - x1, 0.6), height=frame.y.start - y)
        for row, mark in enumerate(marks):
            at = frame.x(mark.value)
            before = at + 6 + text_width(mark.name) > frame.x.stop
            yield line(at, frame.y.start, at, frame.y.stop, "reference")
            where = "quiet small end" if before else "quiet small"
            yield label(at + (-5 if before else 5), frame.y.stop + 8 + 14 * row, mark.name, where)

    return figure(title, draw, description=description, full=full, note=note)


def box_chart(
    title: str,
    groups: Mapping[str, Numbers],
    *,
    format: Format = plain,  # noqa: A002
    value_label: str = "",
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw one box per group: quartiles, median, whiskers up to 1.5 interquartile ranges, outliers."""
    finite = {name: usable(np.asarray(values, dtype=float)) for name, values in groups.items()}
    everything = np.concatenate(list(finite.values()) or [np.empty(0)])
    low, high = span(everything)

    def draw(width: float) -> Drawing:
        if not len(everything):
            return no_data(width)
        left = min(max(text_width(name) for name in finite) + 12, width * 0.4)
        scale = Scale(low, high, left, width - 14)
        bottom = 6 + _PITCH_PX * len(finite)
        return Drawing(bottom + 24 + (LINE_PX if value_label else 0), body(scale, bottom))

    def body(scale: Scale, bottom: float) -> Iterator[Markup]:
        yield from x_ticks(scale, bottom, format, grid_top=4)
        for row, (name, values) in enumerate(finite.items()):
            middle = 6 + _PITCH_PX * (row + 0.5)
            yield label(scale.start - 8, middle, name, "end", room=scale.start - 10)
            if len(values):
                yield from _box(scale, middle, name, values, format)
            else:
                yield label(scale.start + 6, middle, "no data", "quiet small")
        if value_label:
            center = (scale.start + scale.stop) / 2
            yield label(center, bottom + 32, value_label, "axis-name middle", room=scale.stop - scale.start)

    listed = "; ".join(f"{name} median {format(float(np.median(v)))}" for name, v in finite.items() if len(v))
    return figure(title, draw, description=f"Box plot. {listed or 'No data'}.", full=full, note=note)


def _box(scale: Scale, middle: float, name: str, values: Values, form: Format) -> Iterator[Markup]:
    first, median, third = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = 1.5 * (third - first)
    inside = values[(values >= first - reach) & (values <= third + reach)]
    low, high = float(inside.min()), float(inside.max())
    tip = f"{name}: median {form(median)}, middle half {form(first)} to {form(third)}, {whole(len(values))} values"
    yield line(scale(low), middle, scale(first), middle, "whisker")
    yield line(scale(third), middle, scale(high), middle, "whisker")
    for end in (low, high):
        yield line(scale(end), middle - 4, scale(end), middle + 4, "whisker")
    wide = max(scale(third) - scale(first), 1)
    yield tag("rect", "box s0", tip=tip, x=scale(first), y=middle - 9, width=wide, height=18, rx=2)
    yield line(scale(median), middle - 9, scale(median), middle + 9, "series s0")
    outliers = np.sort(values[(values < low) | (values > high)])
    if len(outliers) > _OUTLIERS_UP_TO:
        outliers = outliers[np.linspace(0, len(outliers) - 1, _OUTLIERS_UP_TO).round().astype(int)]
    for value in outliers:
        yield tag("circle", "dot s0", tip=form(float(value)), cx=scale(float(value)), cy=middle, r=2.5)


def _bins(values: Values, bins: int | None) -> tuple[Values, Values]:
    if not len(values):
        return np.zeros(1), np.array([0.0, 1.0])
    if bins is None:
        width = 2 * float(np.subtract(*np.quantile(values, (0.75, 0.25)))) / len(values) ** (1 / 3)
        spread = float(values.max() - values.min())
        bins = int(np.clip(spread / width if width > 0 else np.sqrt(len(values)), 1, _BINS_UP_TO))
    counts, edges = np.histogram(values, bins=bins)
    return counts.astype(float), edges
