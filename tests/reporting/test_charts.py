"""Charts: what they draw, what they say to those who don't see them, and how they bear odd data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from markupsafe import Markup

from breedclf.reporting.charts import (
    Bar,
    Dimension,
    Reference,
    Series,
    Span,
    bar_chart,
    box_chart,
    donut_chart,
    heat_map,
    histogram,
    line_chart,
    parallel_coordinates,
    pie_chart,
    scatter_chart,
    stacked_bar_chart,
    timeline_chart,
)  # fmt: skip
from breedclf.reporting.charts.lines import thin
from breedclf.reporting.formats import percent, seconds
from breedclf.testing.pages import read_page

NAN = math.nan
MANY = 100_000
NAMES = [str(i) for i in range(300)]
ROWS = [{"a": i, "b": -i} for i in range(5_000)]
_random = np.random.default_rng(0)

EMPTY: dict[str, Callable[[], Markup]] = {
    "line": lambda: line_chart("Title", []),
    "line of nothing": lambda: line_chart("Title", [Series("a", [1, 2], [NAN, math.inf])]),
    "line below zero on a log axis": lambda: line_chart("Title", [Series("a", [1], [-1])], log_y=True),
    "bar": lambda: bar_chart("Title", [Bar("a", NAN)]),
    "vertical bar": lambda: bar_chart("Title", [], horizontal=False),
    "stacked": lambda: stacked_bar_chart("Title", [], {}),
    "stacked zeros": lambda: stacked_bar_chart("Title", ["a"], {"x": [0.0], "y": [NAN]}),
    "donut": lambda: donut_chart("Title", [("a", 0), ("b", NAN)]),
    "pie": lambda: pie_chart("Title", []),
    "histogram": lambda: histogram("Title", [NAN]),
    "scatter": lambda: scatter_chart("Title", []),
    "box": lambda: box_chart("Title", {"a": []}),
    "heat map": lambda: heat_map("Title", [], [], []),
    "timeline": lambda: timeline_chart("Title", []),
    "parallel": lambda: parallel_coordinates("Title", [Dimension("a"), Dimension("b")], [{"a": NAN, "b": 1}]),
}
ONE: dict[str, Callable[[], Markup]] = {
    "line": lambda: line_chart("Title", [Series("a", [0], [0])]),
    "log line": lambda: line_chart("Title", [Series("a", [1e-3], [1e-3])], log_x=True, log_y=True),
    "bar": lambda: bar_chart("Title", [Bar("a", 0)]),
    "vertical bar": lambda: bar_chart("Title", [Bar("a", -1, low=-2, high=0)], horizontal=False),
    "stacked": lambda: stacked_bar_chart("Title", ["a"], {"x": [1.0]}),
    "donut": lambda: donut_chart("Title", [("a", 1)]),
    "histogram": lambda: histogram("Title", [3]),
    "scatter": lambda: scatter_chart("Title", [Series("a", [1], [1])], highlight=(0, 0)),
    "scatter with intervals": lambda: scatter_chart("Title", [Series("a", [1], [1])], intervals=[[(0.5, 1.2)]]),
    "box": lambda: box_chart("Title", {"a": [1]}),
    "heat map": lambda: heat_map("Title", [[0]], ["a"], ["b"]),
    "timeline": lambda: timeline_chart("Title", [Span("a", 1, 1)]),
    "parallel": lambda: parallel_coordinates("Title", [Dimension("a", log=True), Dimension("b")], [{"a": 1, "b": 1}]),
}
LARGE: dict[str, Callable[[], Markup]] = {
    "line": lambda: line_chart("Title", [Series("a", np.arange(MANY), _random.random(MANY))]),
    "bar": lambda: bar_chart("Title", [Bar(str(i), i) for i in range(MANY)]),
    "donut": lambda: donut_chart("Title", [(str(i), i) for i in range(2_000)]),
    "histogram": lambda: histogram("Title", _random.standard_normal(MANY)),
    "scatter": lambda: scatter_chart("Title", [Series("a", _random.random(MANY), _random.random(MANY))]),
    "box": lambda: box_chart("Title", {"a": _random.standard_cauchy(MANY)}),
    "heat map": lambda: heat_map("Title", _random.random((300, 300)), NAMES, NAMES),
    "timeline": lambda: timeline_chart("Title", [Span(f"lane {i % 4}", i, i + 0.5, "load") for i in range(MANY)]),
    "parallel": lambda: parallel_coordinates("Title", [Dimension("a"), Dimension("b")], ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_a_chart_without_data_says_so(name: str) -> None:
    html = EMPTY[name]()
    assert "No data." in html
    assert_sound(html)


@pytest.mark.parametrize("name", ONE)
def test_a_chart_of_one_value_is_drawn(name: str) -> None:
    html = ONE[name]()
    assert "No data." not in html
    assert_sound(html)


@pytest.mark.parametrize("name", LARGE)
def test_a_chart_of_much_data_stays_small(name: str) -> None:
    html = LARGE[name]()
    assert_sound(html)
    limit = 3_000_000 if name == "heat map" else 600_000
    assert len(html) < limit


def assert_sound(html: Markup) -> None:
    assert isinstance(html, Markup)
    assert read_page(html).problems == []
    assert html.count('role="img"') == html.count("<svg") == html.count("<desc>") >= 2
    assert "nan" not in re.sub(r"<(title|desc)>.*?</\1>", "", html.lower())
    assert "inf" not in re.sub(r"<(title|desc)>.*?</\1>", "", html.lower())


def marks(html: Markup, element: str) -> list[dict[str, str]]:
    """The attributes of an element's appearances in the first drawing, the narrow one."""
    drawing = html.split("</svg>")[0]
    return [dict(re.findall(r'([\w-]+)="([^"]*)"', found)) for found in re.findall(rf"<{element} ([^>]*)>", drawing)]


def test_a_scatter_chart_draws_intervals_through_its_points() -> None:
    html = scatter_chart("Title", [Series("a", [1, 2], [1, 3])], intervals=[[(0.5, 1.2), (2, 3.5)]])
    dots = marks(html, "circle")
    lines = [mark["d"] for mark in marks(html, "path") if mark["class"] == "whisker"]
    assert len(lines) == len(dots) == 2
    for dot, line in zip(dots, lines, strict=True):
        x_from, low, x_to, high = (float(number) for number in re.findall(r"[\d.]+", line))
        assert x_from == x_to == float(dot["cx"])
        assert high < float(dot["cy"]) < low


def test_names_are_escaped() -> None:
    nasty = "<b>&"
    for html in (
        line_chart(nasty, [Series(nasty, [1], [1]), Series("b", [1], [2])], x_label=nasty, y_label=nasty),
        bar_chart(nasty, [Bar(nasty, 1, note=nasty)]),
        stacked_bar_chart(nasty, [nasty], {nasty: [1.0]}),
        donut_chart(nasty, [(nasty, 1)]),
        heat_map(nasty, [[1]], [nasty], [nasty], row_label=nasty, column_label=nasty),
        timeline_chart(nasty, [Span(nasty, 0, 1, nasty, nasty)]),
        box_chart(nasty, {nasty: [1, 2]}),
        parallel_coordinates(nasty, [Dimension(nasty), Dimension("b")], [{nasty: nasty, "b": 1}], tips=[nasty]),
    ):
        assert "<b>" not in html
        assert_sound(html)


def test_thinning_keeps_every_peak() -> None:
    y = np.zeros(MANY)
    y[[12_345, 77_777]] = 5, -3
    x, kept = thin(np.arange(MANY) * 600 / MANY, y, 600)
    assert len(x) <= 4 * 600
    assert (kept.max(), kept.min()) == (5, -3)
    assert np.all(np.diff(x) > 0)


def test_a_gap_splits_a_line() -> None:
    html = line_chart("Title", [Series("a", [1, 2, 3, 4, 5], [1, 2, NAN, 2, 3])])
    assert len([path for path in marks(html, "path") if path["class"].startswith("series")]) == 2


def test_bars_are_as_long_as_their_values() -> None:
    widths = [float(rect["width"]) for rect in marks(bar_chart("Title", [Bar("a", 1), Bar("b", 2)]), "rect")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_bars_beyond_the_limit_are_counted() -> None:
    assert "The first 2 of 3 are shown." in bar_chart("Title", [Bar(str(i), i) for i in range(3)], most=2)


def test_shares_fill_the_whole_bar() -> None:
    html = stacked_bar_chart("Title", ["a", "b"], {"x": [1, 30], "y": [3, 10]}, shares=True)
    widths = [float(rect["width"]) for rect in marks(html, "rect")]
    assert widths[0] + widths[1] == pytest.approx(widths[2] + widths[3], abs=0.3)
    assert "a, x: 25%" in html


def test_a_stack_refuses_what_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match="'x' holds a negative value"):
        stacked_bar_chart("Title", ["a"], {"x": [-1.0]})
    with pytest.raises(ValueError, match="'x' has 1 values for 2 categories"):
        stacked_bar_chart("Title", ["a", "b"], {"x": [1.0]})
    with pytest.raises(ValueError, match="'a' is negative"):
        donut_chart("Title", [("a", -1)])


def test_small_parts_are_merged_and_the_shares_still_add_up() -> None:
    html = pie_chart("Title", [(f"part {i}", 1) for i in range(20)])
    assert "13 others" in html
    assert "65%" in html


def test_series_refuse_uneven_points() -> None:
    with pytest.raises(ValueError, match="series 'a' has 2 x values and 1 y values"):
        Series("a", [1, 2], [1])


def test_histogram_counts_every_value() -> None:
    html = histogram("Title", [1, 1, 1, 2, 9], bins=4, x_format=seconds, references=[Reference(2, "median")])
    assert "1 s to 3 s: 4" in html
    assert "7 s to 9 s: 1" in html
    assert "median" in html


def test_heat_map_writes_numbers_where_they_fit_and_only_there() -> None:
    assert ">23</text>" in heat_map("Title", [[23, 2], [1, 24]], ["a", "b"], ["a", "b"])
    dense = heat_map("Title", np.ones((133, 133)), [f"{i}" for i in range(133)], [f"{i}" for i in range(133)])
    assert marks(dense, "rect") == [r for r in marks(dense, "rect") if r["class"] == "axis"]
    assert "133 rows and 133 columns" in dense


def test_heat_map_refuses_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        heat_map("Title", [[1, 2]], ["a"], ["b"])


def test_timeline_keeps_the_share_of_time_when_spans_are_merged() -> None:
    html = timeline_chart("Title", [Span("a", i, i + 0.4, "load") for i in range(5_000)])
    shades = {rect["fill-opacity"] for rect in marks(html, "rect")}
    assert shades <= {"0.4", "0.6"}
    assert "5,000 spans" in html


def test_timeline_refuses_a_span_that_runs_backwards() -> None:
    with pytest.raises(ValueError, match="span 'load' ends at 1"):
        timeline_chart("Title", [Span("a", 2, 1, "load")])


def test_parallel_coordinates_count_rows_left_out_and_mark_the_best() -> None:
    rows = [{"lr": 0.01, "head": "linear", "loss": 0.3}, {"lr": 0.02, "head": "standardized", "loss": 0.2}, {"lr": 0.0}]
    html = parallel_coordinates(
        "Title", [Dimension("lr", log=True), Dimension("head"), Dimension("loss")], rows, highlight=1
    )
    lines = [path for path in marks(html, "path") if path.get("class", "").startswith("series")]
    assert [path["class"] for path in lines] == ["series s0 thin", "series chosen"]
    assert "1 without a value are omitted." in html
    assert "standardized" in html


def test_the_description_has_the_data() -> None:
    html = line_chart("Loss", [Series("train", [1, 2, 3], [0.9, 0.4, 0.5])], y_format=percent)
    assert "from 90% at 1 to 50% at 3, lowest 40%, highest 90%" in html
