"""What a notebook shows of an object: a small piece of HTML without scripts or links, on light and dark themes.

Text takes the color of the notebook, and charts use colors that are readable on white and on black, since a theme
can't be detected reliably in every kind of notebook.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from markupsafe import Markup

from breedclf.reporting.blocks import block
from breedclf.reporting.formats import percent
from breedclf.reporting.page import as_block, render
from breedclf.text.printable import storable


def notebook_view(heading: str, *blocks: Markup | str) -> str:
    """Blocks below a heading, as in reports.

    Example:
        >>> "&lt;b&gt;" in notebook_view("Job <b>")
        True
    """
    return storable(render("notebook.html.j2", heading=heading, blocks=[as_block(each) for each in blocks]))


def share_bars(shares: Iterable[tuple[str, float]]) -> Markup:
    """Names with their shares from 0 to 1, as bars."""
    return block("share_bars", [(name, min(max(share, 0.0), 1.0), percent(share)) for name, share in shares])


def beside_image(jpeg: bytes | None, body: Markup) -> Markup:
    """A block beside a small image, if there is one."""
    return block("beside_image", "" if jpeg is None else base64.b64encode(jpeg).decode("ascii"), body)


def quiet(text: str) -> Markup:
    """A line of less importance."""
    return Markup('<p class="quiet">{}</p>').format(text)
