"""SVG as text: elements, labels shortened to the available space, and figures drawn for several page widths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from breedclf.reporting.page import environment

NARROW, MEDIUM, WIDE = 340.0, 640.0, 1080.0
FONT_PX = 12.0
LINE_PX = 18.0
_MEAN_GLYPH = 0.6  # of the font size, over the system fonts that the page asks for


@dataclass(frozen=True)
class Drawing:
    """A chart drawn at one width: its height in pixels and its elements."""

    height: float
    body: Iterable[Markup]


def figure(
    title: str,
    draw: Callable[[float], Drawing],
    *,
    description: str,
    legend: Sequence[str] = (),
    note: str = "",
    full: bool = False,
) -> Markup:
    """A titled chart, drawn at several widths; the page shows the one that fits.

    Args:
        title: shown above the chart, and its accessible name.
        draw: draws the chart at a width in pixels; text size is constant.
        description: text alternative of the chart.
        legend: names of the series, in the order of their colors.
        note: a remark below the chart.
        full: use the full width of the page; adds a third, wider drawing.
    """
    widths = {"narrow": NARROW, "medium": MEDIUM} | ({"wide": WIDE} if full else {})
    drawings = []
    for name, width in widths.items():
        drawing = draw(width)
        drawings.append((name, number(width), number(drawing.height), Markup("").join(drawing.body)))
    macro = environment().get_template("blocks.html.j2").module.chart  # type: ignore[attr-defined]
    return Markup(macro(title, list(legend), drawings, description, note, full))


def tag(name: str, css: str = "", content: object = None, *, tip: str = "", **attributes: object) -> Markup:
    """One element; `tip` is its tooltip, and underscores in attribute names become hyphens."""
    parts = [f' class="{escape(css)}"'] if css else []
    parts += [f' {key.replace("_", "-")}="{escape(_attribute(value))}"' for key, value in attributes.items()]
    inner = (f"<title>{escape(tip)}</title>" if tip else "") + ("" if content is None else str(escape(content)))
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>" if inner else f"<{name}{''.join(parts)}/>")


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return tag("path", css, d=f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}")


def label(x: float, y: float, text: str, css: str = "", *, room: float | None = None) -> Markup:
    """Text at a point, vertically centered, shortened to `room` pixels with the full text as tooltip."""
    shown = text if room is None else shorten(text, room)
    return tag("text", css, shown, tip=text if shown != text else "", x=x, y=y + 0.35 * FONT_PX)


def polyline(points: Iterable[tuple[float, float]], css: str, tip: str = "", **attributes: object) -> Markup:
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return tag("path", css, tip=tip, d=f"M{path}", **attributes)


def text_width(text: str) -> float:
    """Estimate the width of a text in pixels; a percent sign is much wider than other glyphs."""
    return (len(text) + 0.6 * text.count("%")) * FONT_PX * _MEAN_GLYPH


def shorten(text: str, room: float) -> str:
    """Shorten a text to `room` pixels, with an ellipsis."""
    fitting = max(1, int(room / (FONT_PX * _MEAN_GLYPH)))
    return text if len(text) <= fitting else text[: max(1, fitting - 1)].rstrip() + "…"


def number(value: float) -> str:
    """Format a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def no_data(width: float, text: str = "No data.") -> Drawing:
    """The placeholder of a chart without data."""
    return Drawing(
        60, [tag("rect", "grid", x=0.5, y=0.5, width=width - 1, height=59, rx=6), label(16, 30, text, "quiet")]
    )


def _attribute(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
