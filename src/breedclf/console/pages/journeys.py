"""All journeys: how far each is, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.overview.journeys import JourneyView
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import table

_SHOWN_CHARS = 220


class JourneysPage:
    """`/journeys`"""

    path: ClassVar[str] = "/journeys"
    label: ClassVar[str] = "Journey"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        del parameters
        views = overview.journeys().value or ()
        empty = "None yet: `breedclf journey DIR` takes a dataset to a deployed model."
        rows = [_row(view, links) for view in views]
        heads = ["journey", "status", "steps", "now", "written"]
        return Content(
            "Journeys",
            [Fragment("journeys", table("Journeys, those that changed last first", heads, rows, empty=empty))],
            f"{len(views)} in {overview.places.runs}",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _row(view: JourneyView, links: Links) -> tuple[Markup | str, ...]:
    if view.problem:
        progress, now = "–", shortened(view.problem)
    else:
        progress = f"{view.done} of {len(view.steps)}"
        step = view.now
        now = "–" if step is None else shortened(f"{step.heading}: {step.headline}")
    return (
        html.link(links.to(f"/journeys/{view.name}"), view.title),
        html.badge(view.state),
        progress,
        now,
        html.moment(view.changed),
    )


def shortened(text: str) -> str:
    """A text that fits in a table."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
