"""Output made from a profile: the HTML report, the trace, and comparisons."""

from breedclf.profiling.report.page import render_report
from breedclf.profiling.report.trace import write_trace

__all__ = ["render_report", "write_trace"]
