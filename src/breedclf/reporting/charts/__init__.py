"""Charts as inline SVG: pure functions from numbers to markup, for small and large screens, dark mode and print.

Every chart is a titled figure with `role="img"` and a text description. Non-finite values are omitted; a chart without
values shows a message. Large data is downsampled, binned or merged to the resolution of a screen.
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
