"""All endpoints of a backend: their states, addresses, requests of the last hour, and the time that they have left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.overview.endpoints import EndpointView
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, table
from breedclf.reporting.formats import percent, whole

_COLUMNS: tuple[Column | str, ...] = (
    "name",
    "status",
    "model",
    "time to live",
    Column("requests (last hour)", numeric=True),
    Column("errors", numeric=True),
    Column("median latency", numeric=True),
    "created",
)
_EMPTY = "No endpoints: `breedclf deploy MODEL --detach` starts one."


class EndpointsPage:
    """`/endpoints`"""

    path: ClassVar[str] = "/endpoints"
    label: ClassVar[str] = "Endpoints"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        del parameters
        look = overview.endpoints()
        known = look.value or ()
        return Content(
            "Endpoints",
            [
                Fragment("problem", html.problem(look)),
                Fragment(
                    "endpoints",
                    table(
                        "Endpoints, newest first", _COLUMNS, [_row(each, links) for each in known[::-1]], empty=_EMPTY
                    ),
                ),
            ],
            f"{sum(each.serves for each in known)} of {len(known)} in service on {overview.label}",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _row(each: EndpointView, links: Links) -> list[Markup | str | None]:
    activity = each.activity
    latency = None if activity is None else activity.latency
    rate = None if activity is None else activity.error_rate
    return [
        html.link(links.to(f"/endpoints/{each.name}"), each.name),
        html.badge(each.status),
        model_of(each, links),
        html.left(each.description.expires),
        None if activity is None else whole(activity.requests),
        None if rate is None else percent(rate),
        None if latency is None else f"{latency.p50:g} ms",
        html.moment(each.description.created),
    ]


def model_of(each: EndpointView, links: Links) -> Markup | str:
    """The model of an endpoint, as a link if it is in the store."""
    generation = f"generation {each.description.generation}" if each.description.generation else "–"
    if each.model is None:
        return generation
    name, version = each.model.name, each.model.version
    page, text = (f"/models/{name}/{version}", f"{name} version {version}") if version else (f"/models/{name}", name)
    return Markup("{}, {}").format(html.link(links.to(page), text), generation)
