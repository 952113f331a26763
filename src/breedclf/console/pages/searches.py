"""All searches: their states, progress and best objective, with words to look for and paging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.overview.lists import Choice, Chosen
from breedclf.overview.overview import Overview
from breedclf.overview.searches import DAMAGED, SearchView, choose_searches
from breedclf.reporting import formats
from breedclf.reporting.blocks import Column, table
from breedclf.tuning.table import value_text

_NONE = (
    "No searches yet: `breedclf tune DIR --learning-rate 0.005:0.01 --batch-size 32,64` starts one, and so does "
    "`breedclf journey DIR`."
)


class SearchesPage:
    """`/searches`"""

    path: ClassVar[str] = "/searches"
    label: ClassVar[str] = "Search"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        look = overview.searches()
        found = look.value or ()
        choice = Choice(parameters.get("words", ""), parameters.get("status", ""), html.page_number(parameters))
        chosen = choose_searches(found, choice)
        return Content(
            "Search",
            [
                Fragment("problem", html.problem(look)),
                Fragment("filter", _filter(choice, chosen, links)),
                Fragment("searches", _table(chosen, links)),
                Fragment("pages", _pages(choice, chosen, links)),
            ],
            f"{chosen.count} of {len(found)} searches for the best hyperparameters",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _filter(choice: Choice, chosen: Chosen[SearchView], links: Links) -> Markup:
    return html.render(
        "filter.html.j2",
        choice=choice,
        statuses=list(chosen.statuses.items()),
        links=links,
        path=SearchesPage.path,
        words_label="Name, data or setting",
    )


def _table(chosen: Chosen[SearchView], links: Links) -> Markup:
    columns: list[Column | str] = [
        "name",
        "status",
        Column("trials", numeric=True),
        "objective",
        Column("best", numeric=True, format=lambda value: f"{value:.4f}"),
        "with",
        "created",
        Column("duration", numeric=True),
        "runs",
    ]
    empty = "No searches match." if chosen.statuses else _NONE
    return table("Searches, newest first", columns, [_row(each, links) for each in chosen.shown], empty=empty)


def _row(view: SearchView, links: Links) -> list[object]:
    best = view.best
    return [
        html.link(links.to(f"/searches/{view.name}"), view.name),
        html.badge(view.status),
        progress(view),
        "–" if view.study is None else view.study.request.objective,
        None if best is None else best.objective,
        "–" if best is None else ", ".join(f"{name} {value_text(each)}" for name, each in best.hyperparameters.items()),
        html.moment(view.created),
        duration(view),
        where(view, links),
    ]


def progress(view: SearchView) -> str:
    """How many trials are done, of how many."""
    return f"{view.done}" if view.planned is None else f"{view.done} of {view.planned}"


def duration(view: SearchView) -> Markup:
    """How long a search has worked; that of one that goes on counts up in the browser."""
    if view.is_active and not view.is_elsewhere:
        return html.running(view.created, None)
    return Markup("–") if view.seconds is None else Markup("{}").format(formats.seconds(view.seconds))


def where(view: SearchView, links: Links) -> Markup | str:
    """Where its trials run, and the journey that it is part of."""
    if view.status == DAMAGED:
        return "–"
    place = "in one process" if view.backend is None else f"on {view.backend}"
    if view.home is None or not view.home.journey:
        return place
    journey = html.link(links.to(f"/journeys/{view.home.journey_key}"), view.home.journey)
    return Markup("{}, in the journey {}").format(place, journey)


def _pages(choice: Choice, chosen: Chosen[SearchView], links: Links) -> Markup:
    path = SearchesPage.path
    return html.paging(
        chosen, "searches", lambda page: links.to(path, words=choice.words, status=choice.status, page=page)
    )
