"""The page about a journey: one HTML file with its story, step by step, and the figures of every step."""

from breedclf.journey.page.write import write_page

__all__ = ["write_page"]
