"""The shell of every report: one self-contained HTML page, light and dark, that opens offline and prints."""

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
    """A part of a page: a heading, one sentence on what it tells, and blocks (plain text becomes a paragraph)."""

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
) -> str:
    """Render a whole page that refers to nothing outside itself.

    Args:
        title: the heading of the page and of its tab.
        sections: the parts below it; from three on, a list of them stands at the top.
        subtitle: what the page is about, in one line.
        summary: the blocks right below the title: the verdict, headline figures.
        made_by: the program and version named in the footer.
        made_at: the time named in the footer; without it none is named, so that equal input gives equal pages.

    Text is escaped; only `Markup` (what `breedclf.reporting.blocks` and `.charts` return) goes in as it is.

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
        )
    )


def render(template: str, **values: object) -> Markup:
    """Render a template of this package, with escaping; a value that the template asks for and lacks is an error."""
    return Markup(environment().get_template(template).render(**values))


def as_block(block: Markup | str) -> Markup:
    """Markup as it is; plain text as a paragraph."""
    return block if isinstance(block, Markup) else Markup("<p>{}</p>").format(block)


@cache
def environment() -> Environment:
    """The templates, read once a process."""
    return Environment(
        loader=PackageLoader("breedclf.reporting", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
