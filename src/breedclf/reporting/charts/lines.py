"""Line charts: series over a common axis, downsampled to the chart's width without losing peaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from breedclf.reporting.axes import Frame, Values, span, usable
from breedclf.reporting.formats import Format, plain
from breedclf.reporting.svg import Drawing, figure, label, line, no_data, polyline, tag, text_width

Numbers = Sequence[float] | npt.NDArray[np.floating] | npt.NDArray[np.integer]
_DOTS_UP_TO = 60


@dataclass(frozen=True, eq=False)
class Series:
    """Named points; NaN in y leaves a gap."""

    name: str
    x: Numbers
    y: Numbers

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"series {self.name!r} has {len(self.x)} x values and {len(self.y)} y values")


@dataclass(frozen=True)
class Reference:
    """A dashed line at a value of one axis, with its name."""

    value: float
    name: str
    axis: str = "x"


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "",
    y_label: str = "",
    x_format: Format = plain,
    y_format: Format = plain,
    log_x: bool = False,
    log_y: bool = False,
    from_zero: bool = False,
    whole_x: bool = False,
    references: Sequence[Reference] = (),
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw series as lines, with dots if there are few points.

    Example:
        >>> "<svg" in line_chart("Loss", [Series("train", [1, 2, 3], [0.9, 0.5, 0.4])], x_label="epoch")
        True
    """
    arrays = [(s, np.asarray(s.x, dtype=float), np.asarray(s.y, dtype=float)) for s in series]
    shown = [_shown(x, y, log_x=log_x, log_y=log_y) for _, x, y in arrays]
    xs = np.concatenate([x[keep] for (_, x, _), keep in zip(arrays, shown, strict=True)] or [np.empty(0)])
    ys = np.concatenate([y[keep] for (_, _, y), keep in zip(arrays, shown, strict=True)] or [np.empty(0)])
    lines = [r for r in references if np.isfinite(r.value)]
    x_range = span(np.append(xs, [r.value for r in lines if r.axis == "x"]), log=log_x, margin=0)
    y_range = span(np.append(ys, [r.value for r in lines if r.axis == "y"]), log=log_y, from_zero=from_zero)

    def draw(width: float) -> Drawing:
        if not len(xs):
            return no_data(width)
        frame = Frame.fit(
            width, x_range, y_range, x_label=x_label, y_label=y_label, x_format=x_format, y_format=y_format,
            log_x=log_x, log_y=log_y,
        )  # fmt: skip
        return Drawing(frame.height, body(frame))

    def body(frame: Frame) -> Iterator[Markup]:
        yield from frame.draw(whole_x=whole_x)
        yield from _references(frame, lines)
        for index, ((one, x, y), keep) in enumerate(zip(arrays, shown, strict=True)):
            yield from _one(frame, one.name, x, y, keep, f"s{index % 8}" + (" dashed" if index >= 8 else ""))

    return figure(
        title, draw, description=_describe(arrays, shown, x_format, y_format),
        legend=[s.name for s in series] if len(series) > 1 else (), full=full, note=note,
    )  # fmt: skip


def _one(frame: Frame, name: str, x: Values, y: Values, keep: npt.NDArray[np.bool_], css: str) -> Iterator[Markup]:
    for piece in _pieces(keep):
        px, py = frame.x.many(x[piece]), frame.y.many(y[piece])
        if len(px) > 1:
            thin_x, thin_y = thin(px, py, frame.x.stop - frame.x.start)
            yield polyline(zip(thin_x, thin_y, strict=True), f"series {css}", tip=name)
        if len(px) == 1 or int(keep.sum()) <= _DOTS_UP_TO:
            for at_x, at_y, value_x, value_y in zip(px, py, x[piece], y[piece], strict=True):
                tip = f"{name}: {frame.y_format(float(value_y))} at {frame.x_format(float(value_x))}"
                yield tag("circle", f"mark {css}", tip=tip, cx=float(at_x), cy=float(at_y), r=3)


def thin(x: Values, y: Values, pixels: float) -> tuple[Values, Values]:
    """Keep the first, lowest, highest and last point of each pixel column, so that no peak is lost."""
    columns = int(pixels)
    if len(x) <= 4 * columns or np.any(np.diff(x) < 0):
        return x, y
    column = np.minimum(((x - x[0]) / max(float(x[-1] - x[0]), 1e-9) * columns).astype(int), columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    ends = np.append(starts[1:], len(x))
    keep = sorted(
        {
            int(i)
            for a, b in zip(starts, ends, strict=True)
            for i in (a, a + y[a:b].argmin(), a + y[a:b].argmax(), b - 1)
        }
    )
    return x[keep], y[keep]


def _pieces(keep: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.intp]]:
    kept = np.flatnonzero(keep)
    if kept.size:
        yield from np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)


def _shown(x: Values, y: Values, *, log_x: bool, log_y: bool) -> npt.NDArray[np.bool_]:
    keep = np.isfinite(x) & np.isfinite(y)
    keep &= (x > 0) if log_x else True
    keep &= (y > 0) if log_y else True
    return keep


def _references(frame: Frame, lines: Sequence[Reference]) -> Iterator[Markup]:
    left, right = frame.x.start, frame.x.stop
    for row, mark in enumerate(lines):
        if mark.axis == "x":
            at = frame.x(mark.value)
            yield line(at, frame.y.start, at, frame.y.stop, "reference")
            before = at + 6 + text_width(mark.name) > right
            yield label(
                at + (-5 if before else 5),
                frame.y.stop + 8 + 14 * row,
                mark.name,
                "quiet small" + (" end" if before else ""),
            )
        else:
            at = frame.y(mark.value)
            yield line(left, at, right, at, "reference")
            yield label(right - 3, at - 8, mark.name, "quiet small end")


def _describe(
    arrays: Sequence[tuple[Series, Values, Values]],
    shown: Sequence[npt.NDArray[np.bool_]],
    x_format: Format,
    y_format: Format,
) -> str:
    parts = []
    for (one, x, y), keep in zip(arrays, shown, strict=True):
        ys, xs = usable(y[keep]), usable(x[keep])
        if not len(ys):
            parts.append(f"{one.name}: no data")
            continue
        low, high = y_format(float(ys.min())), y_format(float(ys.max()))
        parts.append(
            f"{one.name}: from {y_format(float(ys[0]))} at {x_format(float(xs[0]))} to {y_format(float(ys[-1]))} "
            f"at {x_format(float(xs[-1]))}, lowest {low}, highest {high}"
        )
    return "Line chart. " + ("; ".join(parts) or "No data") + "."
