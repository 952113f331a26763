"""The layout of every report: one self-contained HTML file, in light and dark colors, for screen and print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from breedclf.text.printable import storable

TEMPLATES = "templates"


@dataclass(frozen=True)
class Section:
    """A section of a report: a heading, a one-sentence introduction, and blocks (plain text becomes a paragraph)."""

    heading: str
    blocks: Sequence[Markup | str] = field(default_factory=tuple)
    lead: str = ""

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-") or "section"


def render_page(
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    summary: Sequence[Markup | str] = (),
    made_by: str = "breedclf",
    made_at: datetime | None = None,
    navigation: Markup | None = None,
    style: str = "",
) -> str:
    """Render a complete HTML page without external references.

    Args:
        title: the heading and the document title.
        sections: the sections; three or more are listed at the top.
        subtitle: one line below the title.
        summary: blocks above the sections: the main result, headline figures.
        made_by: program and version for the footer.
        made_at: time for the footer; omitted by default, so that equal input gives equal output.
        navigation: links to the sections, in place of the list of their headings.
        style: a template with more CSS, for blocks that only this kind of page has.

    Text is escaped; only `Markup` (as returned by `breedclf.reporting.blocks` and `.charts`) is inserted unchanged.

    Example:
        >>> from breedclf.reporting import Section, render_page
        >>> "&lt;b&gt;" in render_page("Report", [Section("One <b>", ["All is well."])])
        True
    """
    return storable(
        render(
            "page.html.j2",
            title=title,
            subtitle=subtitle,
            summary=[as_block(block) for block in summary],
            sections=[(section, [as_block(block) for block in section.blocks]) for section in sections],
            made_by=made_by,
            made_at=made_at,
            navigation=navigation,
            style=style,
        )
    )


def render(template: str, **values: object) -> Markup:
    """Render a template of this package with escaping; a missing value is an error."""
    return Markup(environment().get_template(template).render(**values))


def as_block(block: Markup | str) -> Markup:
    """Return markup unchanged, and plain text as a paragraph."""
    return block if isinstance(block, Markup) else Markup("<p>{}</p>").format(block)


@cache
def environment() -> Environment:
    """The template environment, created once per process."""
    return Environment(
        loader=PackageLoader("breedclf.reporting", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
