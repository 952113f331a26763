"""Scatter charts: one dot per point, or a density for many points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from breedclf.reporting.axes import Frame, Values, span
from breedclf.reporting.charts.lines import Series
from breedclf.reporting.formats import Format, plain, whole
from breedclf.reporting.svg import Drawing, figure, line, no_data, number, tag

DOTS_UP_TO = 2_000
_CELL_PX = 8


def scatter_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "",
    y_label: str = "",
    x_format: Format = plain,
    y_format: Format = plain,
    log_x: bool = False,
    log_y: bool = False,
    tips: Sequence[Sequence[str]] = (),
    intervals: Sequence[Sequence[tuple[float, float]]] = (),
    highlight: tuple[int, int] | None = None,
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw points.

    Args:
        title: above the chart.
        series: points by series, distinguished by color.
        x_label: name and unit of the horizontal axis; `y_label` likewise.
        x_format: formats its values; `y_format` likewise.
        log_x: logarithmic axis (values of zero and below are omitted); `log_y` likewise.
        tips: for each series, a tooltip for each point.
        intervals: for each series, the low and high end of a vertical line through each point.
        highlight: series and index of a point to mark with a ring, such as the best trial.
        full: use the full width of the page.
        note: a remark below the chart.
    """
    arrays = [(np.asarray(s.x, dtype=float), np.asarray(s.y, dtype=float)) for s in series]
    shown = [
        np.flatnonzero(np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log_x)) & ((y > 0) | (not log_y))).tolist()
        for x, y in arrays
    ]
    xs = np.concatenate([x[keep] for (x, _), keep in zip(arrays, shown, strict=True)] or [np.empty(0)])
    ys = np.concatenate([y[keep] for (_, y), keep in zip(arrays, shown, strict=True)] or [np.empty(0)])
    dense = len(xs) > DOTS_UP_TO
    ends = [end for of_series in intervals for interval in of_series for end in interval]
    x_range, y_range = span(xs, log=log_x), span([*ys, *ends], log=log_y)

    def draw(width: float) -> Drawing:
        if not len(xs):
            return no_data(width)
        frame = Frame.fit(
            width, x_range, y_range, x_label=x_label, y_label=y_label, x_format=x_format, y_format=y_format,
            log_x=log_x, log_y=log_y,
        )  # fmt: skip
        return Drawing(frame.height, [*frame.draw(), *(_density(frame, xs, ys) if dense else dots(frame))])

    def dots(frame: Frame) -> Iterator[Markup]:
        for index, ((x, y), keep) in enumerate(zip(arrays, shown, strict=True)):
            px, py = frame.x.many(x[keep]), frame.y.many(y[keep])
            for point, at_x, at_y in zip(keep, px, py, strict=True):
                tip = tips[index][point] if tips else f"{x_format(float(x[point]))}, {y_format(float(y[point]))}"
                if intervals:
                    low, high = intervals[index][point]
                    yield line(float(at_x), frame.y(low), float(at_x), frame.y(high), "whisker")
                yield tag("circle", f"dot s{index % 8}", tip=tip, cx=float(at_x), cy=float(at_y), r=4)
                if highlight == (index, int(point)):
                    yield tag("circle", "ring", cx=float(at_x), cy=float(at_y), r=8)

    if len(xs):
        spread = (
            f"{x_label or 'x'} from {x_format(float(xs.min()))} to {x_format(float(xs.max()))}, "
            f"{y_label or 'y'} from {y_format(float(ys.min()))} to {y_format(float(ys.max()))}"
        )
    else:
        spread = "no data"
    binned = f"{whole(len(xs))} points, shown as a density: darker means more." if dense else ""
    return figure(
        title, draw, description=f"Scatter chart of {whole(len(xs))} points: {spread}.",
        legend=[s.name for s in series] if len(series) > 1 and not dense else (), full=full,
        note=" ".join(part for part in (note, binned) if part),
    )  # fmt: skip


def _density(frame: Frame, xs: Values, ys: Values) -> Iterator[Markup]:
    columns = int((frame.x.stop - frame.x.start) // _CELL_PX)
    rows = int((frame.y.start - frame.y.stop) // _CELL_PX)
    counts, x_edges, y_edges = np.histogram2d(
        frame.x.many(xs), frame.y.many(ys), bins=(columns, rows),
        range=((frame.x.start, frame.x.stop), (frame.y.stop, frame.y.start)),
    )  # fmt: skip
    levels = np.ceil(8 * np.log1p(counts) / np.log1p(counts.max())).astype(int)
    for level in range(1, 9):
        cells = np.argwhere(levels == level)
        if len(cells):
            path = "".join(
                f"M{number(x_edges[i])} {number(y_edges[j])}h{_CELL_PX}v{_CELL_PX}h-{_CELL_PX}z" for i, j in cells
            )
            yield tag("path", "heat", d=path, fill_opacity=level / 8)
