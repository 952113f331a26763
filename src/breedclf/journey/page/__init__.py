"""The page about a journey: one HTML file that tells it step by step, with the figures of every step."""

from breedclf.journey.page.write import write_page

__all__ = ["write_page"]
