"""All jobs of a backend: their states, durations and last metrics, with search and paging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.jobs import JobDescription
from breedclf.overview.jobs import JobView, choose
from breedclf.overview.lists import Choice, Chosen
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, table
from breedclf.reporting.formats import plain, whole
from breedclf.text.counts import counted

_Row = list[Markup | str]
_MOST_ROWS = 1000
_TELLING = ("epoch", "valid_accuracy", "valid_loss", "train_loss")


class JobsPage:
    """`/jobs`"""

    path: ClassVar[str] = "/jobs"
    label: ClassVar[str] = "Jobs"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        look = overview.jobs()
        choice = Choice(parameters.get("words", ""), parameters.get("status", ""), html.page_number(parameters))
        chosen = choose(look.value or (), choice)
        return Content(
            "Jobs",
            [
                Fragment("problem", html.problem(look)),
                Fragment("filter", _filter(choice, chosen, links)),
                Fragment("jobs", _table(chosen, links)),
                Fragment("pages", _pages(choice, chosen, links)),
            ],
            _told(chosen.count, len(look.value or ()), overview.label),
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _told(count: int, all_jobs: int, backend: str) -> str:
    shown = "" if count == all_jobs else f"{whole(count)} of "
    return f"{shown}{counted(all_jobs, 'job')} on {backend}"


def _filter(choice: Choice, chosen: Chosen[JobView], links: Links) -> Markup:
    return html.render("filter.html.j2", choice=choice, statuses=list(chosen.statuses.items()), links=links)


def _table(chosen: Chosen[JobView], links: Links) -> Markup:
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
    return table("Jobs, newest first", columns, [_ROWS.of(job, links) for job in chosen.shown], empty=empty)


@dataclass
class _Rows:
    """Rows of jobs on the server: one of a job that has ended is made once."""

    _made: dict[tuple[str, str], tuple[JobDescription, _Row]] = field(default_factory=dict)

    def of(self, job: JobView, links: Links) -> _Row:
        if job.is_active or not links.is_live:
            return _row(job, links)
        address = links.to("/jobs"), job.name
        before = self._made.get(address)
        if before is not None and before[0] is job.description:
            return before[1]
        if len(self._made) > _MOST_ROWS:
            self._made.clear()
        row = _row(job, links)
        self._made[address] = job.description, row
        return row


_ROWS = _Rows()


def _row(job: JobView, links: Links) -> _Row:
    description = job.description
    metrics = ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in _first(description.metrics))
    return [
        html.link(links.to(f"/jobs/{job.name}"), job.name),
        html.badge(job.status),
        job.doing,
        html.link(links.to(f"/searches/{job.search}"), job.search) if job.search else "–",
        html.moment(description.created),
        html.running(description.started, description.ended if not job.is_active else None),
        metrics or "–",
    ]


def _first(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """The three metrics that tell most of a job."""
    order = {name: at for at, name in enumerate(_TELLING)}
    return sorted(metrics.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))[:3]


def _pages(choice: Choice, chosen: Chosen[JobView], links: Links) -> Markup:
    return html.paging(
        chosen, "jobs", lambda page: links.to("/jobs", words=choice.words, status=choice.status, page=page)
    )
