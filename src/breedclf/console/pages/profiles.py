"""All recorded runs: what they are of, when they were recorded, and what each says first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.overview.lists import paged
from breedclf.overview.overview import Overview
from breedclf.overview.profiles import ProfileView, Verdict
from breedclf.reporting.blocks import table

PAGE_SIZE = 50
_READING_SECONDS = 0.15  # of one look; the rest is read by the next ones
_SHOWN_CHARS = 220


class ProfilesPage:
    """`/profiles`"""

    path: ClassVar[str] = "/profiles"
    label: ClassVar[str] = "Profile"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        jobs, look = overview.jobs(), overview.profiles()
        views = look.value or ()
        page = paged(views, html.page_number(parameters), PAGE_SIZE)
        verdicts = overview.recorded.verdicts(page.shown, seconds=_READING_SECONDS if links.is_live else None)
        return Content(
            "Profiles",
            [
                Fragment("problem", html.problem(jobs)),
                Fragment("profiles", _table(page.shown, verdicts, links)),
                Fragment("pages", html.paging(page, "profiles", lambda number: links.to("/profiles", page=number))),
            ],
            Markup("{} recorded, of jobs on {} and of runs in {}").format(
                len(views), overview.label, str(overview.places.runs)
            ),
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def profile_path(name: str) -> str:
    """The path of the page of a recorded run."""
    return f"/profiles/{name}"


def verdict_line(verdict: Verdict) -> Markup:
    """A verdict in one line."""
    rest = f": {verdict.evidence}" if verdict.evidence else ""
    if verdict.effect and verdict.tone == "ok":
        rest = f": {verdict.effect}"
    text = rest if len(rest) <= _SHOWN_CHARS else f"{rest[:_SHOWN_CHARS]}…"
    return Markup('<span class="badge tone-{}">{}</span> <strong>{}</strong>{}').format(
        verdict.tone, verdict.tone, verdict.heading, text
    )


def _table(shown: Sequence[ProfileView], verdicts: Mapping[str, Verdict], links: Links) -> Markup:
    rows = [
        (
            html.link(links.to(profile_path(view.name)), view.title),
            _origin(view, links),
            html.moment(view.changed),
            verdict_line(verdicts[view.name]) if view.name in verdicts else "reading …",
        )
        for view in shown
    ]
    return table(
        "Recorded runs, newest first",
        ["run", "recorded by", "written", "verdict"],
        rows,
        empty="None yet: `breedclf profile DIR` records a run, and so does every job with profile=timers or full.",
    )


def _origin(view: ProfileView, links: Links) -> Markup | str:
    if not view.job:
        return "a run on this machine"
    state = Markup(" {}").format(html.badge("InProgress")) if view.is_active else ""
    return Markup("job {}{}").format(html.link(links.to(f"/jobs/{view.job}"), view.job), state)
