"""Reports as HTML pages of one file: the shell, blocks of text and tables, and charts as inline SVG."""

from breedclf.reporting.page import Section, render_page

__all__ = ["Section", "render_page"]
