"""Charts as inline SVG: pure functions from numbers to markup, readable on a phone, in the dark and on paper.

Every chart is a titled figure with `role="img"` and a description in words. Values that are not numbers are left out;
with none left the chart says so. Large data is thinned, binned or merged to what a screen can show.
"""

from breedclf.reporting.charts.bars import Bar, bar_chart, stacked_bar_chart
from breedclf.reporting.charts.distributions import binned_histogram, box_chart, histogram
from breedclf.reporting.charts.lines import Reference, Series, line_chart
from breedclf.reporting.charts.matrix import heat_map
from breedclf.reporting.charts.parallel import Dimension, parallel_coordinates
from breedclf.reporting.charts.points import scatter_chart
from breedclf.reporting.charts.shares import donut_chart, pie_chart
from breedclf.reporting.charts.timeline import Span, timeline_chart

__all__ = [
    "Bar",
    "Dimension",
    "Reference",
    "Series",
    "Span",
    "bar_chart",
    "binned_histogram",
    "box_chart",
    "donut_chart",
    "heat_map",
    "histogram",
    "line_chart",
    "parallel_coordinates",
    "pie_chart",
    "scatter_chart",
    "stacked_bar_chart",
    "timeline_chart",
]
