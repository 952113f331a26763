"""All models of the store: which version of each is live, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.model_store.records import PREVIOUS, ModelRecord
from breedclf.model_store.summary import measured_accuracy
from breedclf.overview.models import ModelView, endpoint_of
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, bullets, callout, table
from breedclf.reporting.formats import plain
from breedclf.text.counts import counted


class ModelsPage:
    """`/models`"""

    path: ClassVar[str] = "/models"
    label: ClassVar[str] = "Models"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        del parameters
        look = overview.models()
        models = look.value or ()
        return Content(
            "Models",
            [
                Fragment("problem", html.problem(look)),
                Fragment("damaged", _damaged(models)),
                Fragment("models", _table(overview, models, links)),
            ],
            f"{counted(len(models), 'model')} in {overview.places.store}",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _damaged(models: Sequence[ModelView]) -> Markup:
    damaged = [f"{model.name}: {model.problem}" for model in models if model.record is None]
    if not damaged:
        return Markup("")
    return callout("bad", "Some models can't be read; the others are below", bullets(damaged))


def _table(overview: Overview, models: Sequence[ModelView], links: Links) -> Markup:
    columns: list[Column | str] = [
        "name", "live", "previous", Column("versions", numeric=True), "test accuracy", Column("MB", numeric=True),
        "architecture", "served by", "added",
    ]  # fmt: skip
    rows = [_row(overview, model, links) for model in models]
    empty = "No models yet: `breedclf models add NAME MODEL` adds one."
    return table("Models", columns, rows, empty=empty)


def _row(overview: Overview, model: ModelView, links: Links) -> list[object]:
    name = html.link(links.to(f"/models/{model.name}"), model.name)
    if model.record is None:
        return [name, html.badge("Damaged"), *[None] * 7]
    record = model.record
    shown = record.version(record.live) if record.live is not None else (record.versions or (None,))[-1]
    return [
        name,
        _numbered(record, record.live, links),
        _numbered(record, record.aliases.get(PREVIOUS), links),
        len(record.versions),
        None if shown is None else measured_accuracy(shown),
        None if shown is None else plain(shown.megabytes, 3),
        None if shown is None else shown.architecture,
        served_by(overview, record, links),
        None if shown is None else html.moment(shown.added.timestamp()),
    ]


def _numbered(record: ModelRecord, number: int | None, links: Links) -> Markup | None:
    return None if number is None else html.link(links.to(f"/models/{record.name}/{number}"), f"version {number}")


def served_by(overview: Overview, record: ModelRecord, links: Links) -> Markup | str | None:
    """The endpoint that serves a model, as a link if it is on this backend."""
    found = endpoint_of(record, overview.backend.name)
    if found is None:
        return None
    return html.link(links.to(found.path), found.text) if found.path else found.text
