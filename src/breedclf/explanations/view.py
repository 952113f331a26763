"""What a notebook shows of an explanation: the map beside how it was made and where the evidence is."""

from __future__ import annotations

from PIL import Image

from breedclf.explanations.border import UNIFORM_BORDER_SHARE
from breedclf.explanations.facts import ExplanationFacts
from breedclf.explanations.overlay import small_jpeg
from breedclf.reporting.blocks import facts
from breedclf.reporting.formats import percent, plain
from breedclf.reporting.notebook import beside_image, notebook_view


def explanation_view(image: Image.Image, shown: ExplanationFacts) -> str:
    """The HTML of an explanation; `image` is the cropped image with the map in color."""
    pairs = [
        ("Method", f"{shown.method}{', exact' if shown.is_exact else ', an approximation'}"),
        ("Score" if shown.other is None else "Difference of scores", plain(shown.score)),
        ("Evidence on the border", f"{percent(shown.border_share)} ({percent(UNIFORM_BORDER_SHARE)} if even)"),
    ]
    return notebook_view(f"Why {shown.compared}", beside_image(small_jpeg(image), facts(pairs)))
