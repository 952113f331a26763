"""Heat maps: a matrix in shades of one color, with numbers in the cells if they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from breedclf.reporting.axes import Values
from breedclf.reporting.formats import Format, plain
from breedclf.reporting.svg import FONT_PX, Drawing, figure, label, no_data, number, shorten, tag, text_width

_LEVELS = 10
_TIPS_UP_TO = 1_500
_LABEL_PX = 13.0
_LARGEST_CELL_PX = 64.0


def heat_map(
    title: str,
    values: Sequence[Sequence[float]] | npt.NDArray[np.floating] | npt.NDArray[np.integer],
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    format: Format = plain,  # noqa: A002
    shades: Sequence[Sequence[float]] | npt.NDArray[np.floating] | None = None,
    row_label: str = "",
    column_label: str = "",
    square: bool = False,
    full: bool = False,
    note: str = "",
) -> Markup:
    """Draw a matrix; larger values are darker, and NaN and zero are blank.

    Args:
        title: above the chart.
        values: rows by columns, shown in the cells if they fit, and as tooltips.
        row_names: a name for each row; some are omitted if they don't fit.
        column_names: a name for each column.
        format: formats the values.
        shades: darkness of each cell, from 0 to 1; by default the value relative to the largest.
        row_label: what the rows are.
        column_label: what the columns are.
        square: use square cells.
        full: takes the whole width of the page.
        note: a remark below the chart.

    Raises:
        ValueError: names and values differ in number.
    """
    matrix = np.asarray(values, dtype=float).reshape(len(row_names), len(column_names))
    if shades is None:
        top = float(np.nanmax(matrix, initial=0)) if matrix.size else 0.0
        shade = matrix / top if top > 0 else np.zeros_like(matrix)
    else:
        shade = np.asarray(shades, dtype=float).reshape(matrix.shape)
    shade = np.clip(np.nan_to_num(shade), 0, 1)

    def draw(width: float) -> Drawing:
        if not matrix.size:
            return no_data(width)
        rows, columns = matrix.shape
        left = min(max(text_width(name) for name in row_names) + 12, width * (0.3 if columns > 4 else 0.4))
        slant = min(max(text_width(name) for name in column_names), 110) * 0.62 if columns > 4 else 6.0
        cell_w = min((width - left - max(slant, 6)) / columns, _LARGEST_CELL_PX * (1 if square else 2.5))
        cell_h = cell_w if square else float(np.clip(600 / rows, 2, 28))
        slanted = max(text_width(name) for name in column_names) + 6 > cell_w
        head = min(max(text_width(name) for name in column_names), 110) * 0.78 + 12 if slanted else 20.0
        top = head + (18 if column_label or row_label else 0)
        return Drawing(top + cell_h * rows + 6, body(left, top, cell_w, cell_h, slanted, head, width))

    def body(
        left: float, top: float, cell_w: float, cell_h: float, slanted: bool, head: float, width: float
    ) -> Iterator[Markup]:
        axes = " · ".join(
            part
            for part in (f"rows: {row_label}" if row_label else "", f"columns: {column_label}" if column_label else "")
            if part
        )
        if axes:
            yield label(2, 9, axes, "axis-name", room=width - 4)
        every = max(1, int(np.ceil(_LABEL_PX / cell_h)))
        for row in range(0, len(row_names), every):
            yield label(left - 6, top + cell_h * (row + 0.5), row_names[row], "end small", room=left - 8)
        every = max(1, int(np.ceil(_LABEL_PX / cell_w))) if slanted else 1
        for column in range(0, len(column_names), every):
            x = left + cell_w * (column + 0.5)
            if slanted:
                yield _slanted(x, top - 5, column_names[column], min(head / 0.78, (width - x) / 0.62 + 8))
            else:
                yield label(x, top - 11, column_names[column], "middle small", room=cell_w)
        yield from _cells(matrix, shade, left, top, cell_w, cell_h, row_names, column_names, format)
        rows, columns = matrix.shape
        yield tag("rect", "axis", x=left, y=top, width=cell_w * columns, height=cell_h * rows)

    return figure(title, draw, description=_describe(matrix, row_names, column_names, format), full=full, note=note)


def _cells(
    matrix: Values, shade: Values, left: float, top: float, width: float, height: float,
    row_names: Sequence[str], column_names: Sequence[str], form: Format,
) -> Iterator[Markup]:  # fmt: skip
    filled = np.argwhere(np.isfinite(matrix) & (shade > 0))
    if len(filled) > _TIPS_UP_TO:
        yield from _levels(filled, shade, left, top, width, height)
        return
    for row, column in filled:
        tip = f"{row_names[row]}, {column_names[column]}: {form(float(matrix[row, column]))}"
        yield tag(
            "rect", "heat", tip=tip, x=left + width * column, y=top + height * row, width=float(width),
            height=float(height), fill_opacity=f"{_opacity(shade[row, column]):.2f}",
        )  # fmt: skip
    for row, column in np.argwhere(np.isfinite(matrix)):
        text = form(float(matrix[row, column]))
        if text_width(text) + 4 <= width and height >= FONT_PX + 2 and matrix.size <= _TIPS_UP_TO:
            css = _text_css(_opacity(shade[row, column]))
            yield label(left + width * (column + 0.5), top + height * (row + 0.5), text, css)


def _levels(
    filled: npt.NDArray[np.intp], shade: Values, left: float, top: float, width: float, height: float
) -> Iterator[Markup]:
    """Draw all cells of one shade as a single path, for a much smaller file."""
    level = np.ceil(shade[filled[:, 0], filled[:, 1]] * _LEVELS).astype(int)
    place = f"translate({number(left)} {number(top)}) scale({width:.4f} {height:.4f})"
    for value in range(1, _LEVELS + 1):
        cells = filled[level == value]
        if len(cells):
            path = "".join(f"M{column} {row}h1v1h-1z" for row, column in cells.tolist())
            opacity = f"{_opacity(value / _LEVELS):.2f}"
            yield tag("path", "heat", d=path, transform=place, fill_opacity=opacity)


def _text_css(opacity: float) -> str:
    """The CSS class of a cell's text; for medium shades the text color depends on light or dark mode."""
    return "middle" if opacity < 0.58 else "middle between" if opacity < 0.75 else "middle on"


def _opacity(shade: float) -> float:
    return 0.12 + 0.88 * float(shade)


def _slanted(x: float, y: float, text: str, room: float) -> Markup:
    shown = shorten(text, room)
    place = f"rotate(-52 {number(x)} {number(y)})"
    return tag("text", "small", shown, tip=text if shown != text else "", x=x, y=y, transform=place)


def _describe(matrix: Values, rows: Sequence[str], columns: Sequence[str], form: Format) -> str:
    size = f"Matrix of {len(rows)} rows and {len(columns)} columns."
    if not matrix.size or not np.isfinite(matrix).any():
        return f"{size} No data."
    row, column = np.unravel_index(int(np.nanargmax(matrix)), matrix.shape)
    place = f"{rows[int(row)]} and {columns[int(column)]}"
    return f"{size} The largest value is {form(float(matrix[row, column]))}, at {place}."
