"""The web page: its files, their headers, and what the page has to know about the model and the server."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from breedclf.inference.model_directory import ModelCard


PAGE_TYPES = {
    "index.html": "text/html",
    "page.css": "text/css",
    "answer.css": "text/css",
    "page.js": "text/javascript",
    "classify.js": "text/javascript",
    "picture.js": "text/javascript",
    "answer.js": "text/javascript",
    "explanation.js": "text/javascript",
}
SHARED_SCRIPTS = ("classify.js", "picture.js", "answer.js", "explanation.js")
"""The scripts that other pages use, too; their style sheet is answer.css, and their markup `page_part`."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
}


@cache
def page_file(name: str) -> bytes:
    """A file of the web page."""
    return files("breedclf.serving").joinpath("page", name).read_bytes()


@cache
def page_part(name: str) -> str:
    """A part of the page's HTML: "choice", where an image is chosen or dropped, or "answer".

    Raises:
        ValueError: there is none of that name.
    """
    text = page_file("index.html").decode()
    start = text.index(f"<!-- {name} -->")
    return text[start : text.index("<!-- end -->", start)].partition("\n")[2]


def page_response(name: str) -> Response:
    """The response with a file of the web page."""
    return Response(page_file(name), media_type=PAGE_TYPES[name], headers=_HEADERS)


def about_model(card: ModelCard) -> dict[str, Any]:
    """How the page explains a prediction of this model: when its images are known, and whether it was calibrated.

    `distance` is None for models without a feature bank, `calibrated_on` (a number of images) for those that weren't
    calibrated.
    """
    bank, calibration = card.feature_bank, card.calibration
    return {
        "min_confidence": card.min_confidence,
        "distance": bank and {"limit": bank.threshold, "kept_share": bank.kept_share, "images": bank.limited_on_images},
        "calibrated_on": calibration and calibration.images,
    }
