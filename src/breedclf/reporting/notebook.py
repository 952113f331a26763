"""What a notebook shows of an object: a small piece of HTML without scripts or links, on light and dark themes.

Text takes the color of the notebook, and charts use colors that are readable on white and on black, since a theme
can't be detected reliably in every kind of notebook.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

from markupsafe import Markup

from breedclf.reporting.blocks import block
from breedclf.reporting.formats import percent
from breedclf.reporting.page import as_block, render
from breedclf.text.printable import storable

if TYPE_CHECKING:
    from PIL import Image

_MAP_PX = 240


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


def explained(
    class_name: str, other: str | None, *, method: str, is_exact: bool, score: float, bias: float, image: Image.Image
) -> tuple[str, Markup]:
    """The heading and the body of an explanation: a small JPEG of the map beside its score in words."""
    small = image.convert("RGB")
    small.thumbnail((_MAP_PX, _MAP_PX))
    file = BytesIO()
    small.save(file, "JPEG", quality=85)
    colors = (
        f"Yellow speaks for {class_name}." if other is None else f"Orange speaks for {class_name}, blue for {other}."
    )
    sign = "-" if bias < 0 else "+"
    parts = f"Score {score:.2f} = {score - bias:.2f} from the places of the image {sign} {abs(bias):.2f} from none."
    sums = parts if is_exact else f"Score {score:.2f}. The values of the map don't add up to it."
    kind = f"{method[0].upper()}{method[1:]}, {'exact' if is_exact else 'an approximation'}."
    lines = Markup("").join(Markup("<p>{}</p>").format(line) for line in (colors, sums, kind))
    heading = f"Why {class_name}{'' if other is None else f' and not {other}'}"
    return heading, beside_image(file.getvalue(), lines)
