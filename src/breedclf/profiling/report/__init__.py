"""What is made of a profile for people and other tools: the page, the trace, AWS-shaped files, and comparisons."""

from breedclf.profiling.report.page import render_report
from breedclf.profiling.report.trace import write_trace

__all__ = ["render_report", "write_trace"]
