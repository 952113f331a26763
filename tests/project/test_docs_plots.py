"""The plots of the documentation: SVG files with the colors of reports, and every missed goal with a reason."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from breedclf.reporting.charts import Bar, bar_chart


@pytest.fixture(autouse=True)
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "_ext"))
    for name in ("benchmark_plots", "missed_goals", "svg_files"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_marks_of_a_plot_have_the_rules_of_reports() -> None:
    from svg_files import standalone

    plot = standalone("Speed", bar_chart("Speed", [Bar("ours", 2.0), Bar("theirs", 1.0)]))
    style, drawing = plot.split("</style>")
    for name in ("mark", "end", "s0"):
        assert f".{name} " in style and re.search(rf'class="[^"]*\b{name}\b', drawing), name


def test_shares_of_the_time_are_drawn_by_network_and_command() -> None:
    from benchmark_plots import drawn

    seconds: dict[str, Any] = {
        "timm:tf_efficientnet_lite9": {"train": {"imports": 3.0, "network": 1.0}, "a request": {"server": 0.1}}
    }
    plot = str(drawn("time_shares", {"seconds": seconds}))
    assert "lite9: train, imports: 75%" in plot
    assert "lite9: a request, server: 100%" in plot


def test_every_missed_goal_of_the_saved_results_has_a_reason() -> None:
    from missed_goals import UNEXPLAINED, rows

    assert [row[:2] for row in rows() if row[-1] == UNEXPLAINED] == []
