"""What a notebook shows of an explanation: the map beside how it was made and where the evidence is."""

from __future__ import annotations

from PIL import Image

from breedclf.explanations.border import UNIFORM_BORDER_SHARE
from breedclf.explanations.overlay import small_jpeg
from breedclf.reporting.blocks import facts
from breedclf.reporting.formats import percent, plain
from breedclf.reporting.notebook import beside_image, notebook_view


def explanation_view(
    image: Image.Image,
    *,
    class_name: str,
    other: str | None,
    method: str,
    is_exact: bool,
    score: float,
    border_share: float,
) -> str:
    """The HTML of an explanation, whichever process made it.

    Args:
        image: the cropped image with the map in color.
        class_name: the explained class.
        other: the class that it is compared with, if any.
        method: how the map was made.
        is_exact: whether its values are the contributions to the score.
        score: the class's score, or the difference of both scores.
        border_share: the share of the positive values near the border.
    """
    pairs = [
        ("Method", f"{method}{', exact' if is_exact else ', an approximation'}"),
        ("Score" if other is None else "Difference of scores", plain(score)),
        ("Evidence on the border", f"{percent(border_share)} ({percent(UNIFORM_BORDER_SHARE)} if even)"),
    ]
    versus = "" if other is None else f" and not {other}"
    return notebook_view(f"Why {class_name}{versus}", beside_image(small_jpeg(image), facts(pairs)))
