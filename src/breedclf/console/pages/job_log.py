"""The whole log of a job, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.errors import JobError
from breedclf.overview.logs import PART_BYTES, LogView
from breedclf.overview.overview import Overview
from breedclf.reporting.formats import whole


class JobLogPage:
    """`/jobs/{name}/log`; `position` in the query is where the part starts."""

    path: ClassVar[str] = "/jobs/{name}/log"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name, given = parameters["name"], parameters.get("position", "")
        look = overview.log_part(name, int(given) if given.isascii() and given.isdecimal() and len(given) < 16 else 0)
        part = look.found(JobError)
        pages = _pages(name, part, links)
        text = Markup('<div class="log whole"><pre tabindex="0" aria-label="Log">{}</pre></div>').format(
            "\n".join(part.lines) or "Nothing here."
        )
        return Content(
            f"Log of {name}",
            [
                Fragment("problem", html.problem(look)),
                Fragment("part", Markup("{}{}{}").format(pages, text, _told(part))),
            ],
            Markup("Job {}").format(html.link(links.to(f"/jobs/{name}"), name)),
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return []


def _told(part: LogView) -> Markup | str:
    if not part.hidden:
        return ""
    lines = "line that reports metrics is" if part.hidden == 1 else "lines that report metrics are"
    return Markup("<p>{} {} left out; the download has all.</p>").format(whole(part.hidden), lines)


def _pages(name: str, part: LogView, links: Links) -> Markup:
    def to(position: int, text: str) -> Markup:
        return html.link(links.to(f"/jobs/{name}/log", position=position), text)

    position, found = part.position or 0, []
    if position:
        found.append(to(0, "Start"))
        if part.size is not None:
            found.append(to(max(0, position - PART_BYTES), "Earlier"))
    if part.size:
        found.append(
            Markup("<span>Part {} of {}</span>").format(
                whole(position // PART_BYTES + 1), whole((part.size - 1) // PART_BYTES + 1)
            )
        )
    if part.after is not None:
        found.append(to(part.after, "Later"))
        if part.size is not None:
            found.append(to((part.size - 1) // PART_BYTES * PART_BYTES, "End"))
    if links.is_live:
        found.append(html.link(links.to(f"/jobs/{name}/log.txt"), "Download"))
    return Markup('<nav class="pages" aria-label="Parts of the log">{}</nav>').format(Markup(" ").join(found))
