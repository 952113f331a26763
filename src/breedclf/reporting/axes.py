"""Axes: round ticks on linear and logarithmic scales, and the plot area of a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from breedclf.reporting.formats import Format, plain
from breedclf.reporting.svg import LINE_PX, label, line, text_width

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        return float(self.many(np.asarray([value], dtype=float))[0])

    def many(self, values: Values) -> Values:
        low, high = self._bounds()
        position = np.log10(values) if self.log else values
        return self.start + (position - low) / (high - low) * (self.stop - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        return log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)

    def _bounds(self) -> tuple[float, float]:
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)


_SMALLEST_WIDTH = 1e-300  # below it, fractions of a range round to zero


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values (steps of 1, 2 or 5 times a power of ten) from `low` to `high`, at most `most` of them.

    Example:
        >>> linear_ticks(0, 1)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for step in (factor * power for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    return [low, high]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten, also times 2 and 5 for short ranges; both ends for even shorter ones."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 5), (1,)):
        ticks = [f * 10.0**d for d in decades for f in factors if low * (1 - 1e-9) <= f * 10.0**d <= high * (1 + 1e-9)]
        if len(ticks) <= most:
            break
    else:
        ticks = ticks[:: math.ceil(len(ticks) / most)]
    return [float(f"{tick:.12g}") for tick in ticks] if len(ticks) >= 2 else [low, high]


def span(
    values: Sequence[float] | Values, *, from_zero: bool = False, log: bool = False, margin: float = 0.04
) -> tuple[float, float]:
    """Bounds that contain all finite values (positive ones on a logarithmic scale), with a margin; never empty."""
    finite = usable(np.asarray(values, dtype=float), log=log)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (1.0, 10.0)
    if log:
        room = max((math.log10(high) - math.log10(low)) * margin, 0.02 if high > low else 0.3)
        return low / 10**room, high * 10**room
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    width = high - low
    if width <= max(abs(high) * 1e-12, _SMALLEST_WIDTH):
        width = abs(high) if abs(high) > _SMALLEST_WIDTH else 1.0
        return (low, low + width) if from_zero and low >= 0 else (low - width / 2, high + width / 2)
    return (
        low if from_zero and low == 0 else low - width * margin,
        high if from_zero and high == 0 else high + width * margin,
    )


def usable(values: Values, *, log: bool = False) -> Values:
    """The values that can be drawn on a scale."""
    keep = np.isfinite(values) & (values > 0) if log else np.isfinite(values)
    return values[keep]


@dataclass(frozen=True)
class Frame:
    """The plot area of a chart with two numeric axes, and everything around it."""

    x: Scale
    y: Scale
    height: float
    x_label: str = ""
    y_label: str = ""
    x_format: Format = plain
    y_format: Format = plain

    @classmethod
    def fit(
        cls,
        width: float,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        *,
        plot_height: float = 220.0,
        x_label: str = "",
        y_label: str = "",
        x_format: Format = plain,
        y_format: Format = plain,
        log_x: bool = False,
        log_y: bool = False,
    ) -> Frame:
        """Compute the plot area that remains beside the labels."""
        top = 26.0 if y_label else 12.0
        y = Scale(*y_range, top + plot_height, top, log_y)
        left = min(max(text_width(y_format(tick)) for tick in y.ticks()) + 10, width * 0.35)
        x = Scale(*x_range, left, width - 14, log_x)
        height = top + plot_height + 24 + (LINE_PX if x_label else 0)
        return cls(x, y, height, x_label, y_label, x_format, y_format)

    def draw(self, *, whole_x: bool = False) -> Iterator[Markup]:
        """Draw grid, ticks and names of the axes; `whole_x` restricts horizontal ticks to whole numbers."""
        left, right, bottom, top = self.x.start, self.x.stop, self.y.start, self.y.stop
        for tick in self.y.ticks():
            yield line(left, self.y(tick), right, self.y(tick), "grid")
            yield label(left - 7, self.y(tick), self.y_format(tick), "tick end")
        yield line(left, bottom, right, bottom, "axis")
        yield from x_ticks(self.x, bottom, self.x_format, whole=whole_x)
        if self.y_label:
            yield label(2, top - 16, self.y_label, "axis-name", room=right - 2)
        if self.x_label:
            yield label((left + right) / 2, bottom + 34, self.x_label, "axis-name middle", room=right - left)


def x_ticks(
    scale: Scale, bottom: float, form: Format, *, whole: bool = False, grid_top: float | None = None
) -> Iterator[Markup]:
    """Draw as many tick labels below a horizontal axis as fit."""
    for most in (8, 6, 5, 4, 3, 2):
        ticks = [tick for tick in scale.ticks(most) if not whole or tick == round(tick)]
        widths = [text_width(form(tick)) for tick in ticks]
        places = [scale(tick) for tick in ticks]
        gaps = [places[i + 1] - places[i] - (widths[i] + widths[i + 1]) / 2 for i in range(len(ticks) - 1)]
        if all(gap >= 6 for gap in gaps):
            break
    for tick, place, width in zip(ticks, places, widths, strict=True):
        if grid_top is not None:
            yield line(place, grid_top, place, bottom, "grid")
        inside = min(max(place, scale.start - 10 + width / 2), scale.stop + 9 - width / 2)
        yield label(inside, bottom + 13, form(tick), "tick middle")
