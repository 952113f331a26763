"""HTML reports in one file: page layout, blocks of text and tables, and charts as inline SVG."""

from breedclf.reporting.page import Section, render_page

__all__ = ["Section", "render_page"]
