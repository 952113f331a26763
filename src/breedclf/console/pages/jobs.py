"""All jobs of a backend: their states, durations and last metrics, with search and paging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.overview.jobs import Choice, Chosen, JobView, choose
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, table
from breedclf.reporting.formats import plain


class JobsPage:
    """`/jobs`"""

    path: ClassVar[str] = "/jobs"
    label: ClassVar[str] = "Jobs"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        look = overview.jobs()
        choice = Choice(parameters.get("words", ""), parameters.get("status", ""), _number(parameters.get("page", "1")))
        chosen = choose(look.value or (), choice)
        return Content(
            "Jobs",
            [
                Fragment("problem", html.problem(look)),
                Fragment("filter", _filter(choice, chosen, links)),
                Fragment("jobs", _table(chosen, links)),
                Fragment("pages", _pages(choice, chosen, links)),
            ],
            f"{chosen.count} of {len(look.value or ())} jobs on {overview.label}",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 1


def _filter(choice: Choice, chosen: Chosen, links: Links) -> Markup:
    return html.render("filter.html.j2", choice=choice, statuses=sorted(chosen.statuses.items()), links=links)


def _table(chosen: Chosen, links: Links) -> Markup:
    columns: list[Column | str] = [
        "name",
        "status",
        "now",
        "search",
        "created",
        Column("duration", numeric=True),
        "last metrics",
    ]
    empty = "No jobs match." if chosen.statuses else "No jobs yet: `breedclf train DIR --backend local` starts one."
    return table("Jobs, newest first", columns, [_row(job, links) for job in chosen.jobs], empty=empty)


def _row(job: JobView, links: Links) -> list[Markup | str]:
    description = job.description
    metrics = ", ".join(f"{name} {plain(value)}" for name, value in sorted(description.metrics.items())[:3])
    return [
        html.link(links.to(f"/jobs/{job.name}"), job.name),
        html.badge(job.status),
        job.doing,
        html.link(links.to(f"/searches/{job.search}"), job.search) if job.search else "–",
        html.moment(description.created),
        html.running(description.started, description.ended if not job.is_active else None),
        metrics or "–",
    ]


def _pages(choice: Choice, chosen: Chosen, links: Links) -> Markup:
    if chosen.pages == 1:
        return Markup("")

    def page(number: int, text: str) -> Markup:
        return html.link(links.to("/jobs", words=choice.words, status=choice.status, page=number), text)

    parts = [Markup("<span>Page {} of {}</span>").format(chosen.page, chosen.pages)]
    if chosen.page > 1:
        parts.insert(0, page(chosen.page - 1, "Newer"))
    if chosen.page < chosen.pages:
        parts.append(page(chosen.page + 1, "Older"))
    return Markup('<nav class="pages" aria-label="Pages of jobs">{}</nav>').format(Markup(" ").join(parts))
