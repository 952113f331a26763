"""All datasets that jobs, journeys, models and options name: what is in them, who uses them, what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.overview.datasets import DatasetView
from breedclf.overview.overview import Overview
from breedclf.overview.whole_paths import whole_path
from breedclf.reporting.blocks import Column, table
from breedclf.reporting.formats import whole
from breedclf.text.counts import counted

_LINKS = 3
_SHOWN = 100


class DataPage:
    """`/data`"""

    path: ClassVar[str] = "/data"
    label: ClassVar[str] = "Data"

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        del parameters
        look = overview.datasets()
        datasets = look.value or ()
        return Content(
            "Data",
            [
                Fragment("problem", html.problem(look)),
                Fragment("datasets", _table(overview, datasets, links)),
            ],
            f"{counted(len(datasets), 'dataset')} that jobs, journeys or models use",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        del overview
        return [{}]


def _table(overview: Overview, datasets: Sequence[DatasetView], links: Links) -> Markup:
    columns: list[Column | str] = [
        "name", Column("images", numeric=True), Column("classes", numeric=True), "used by", "check", "labels", "path",
    ]  # fmt: skip
    rows = [_row(overview, dataset, links) for dataset in datasets[:_SHOWN]]
    empty = "No datasets yet: train on one, or start the console with --data DIR."
    rest = f"{len(datasets) - _SHOWN:,} more aren't listed." if len(datasets) > _SHOWN else ""
    return Markup("{}{}").format(
        table("Datasets", columns, rows, empty=empty), Markup("<p>{}</p>").format(rest) if rest else ""
    )


def _row(overview: Overview, dataset: DatasetView, links: Links) -> list[object]:
    contents = overview.contents(dataset).value if dataset.is_here else None
    check = overview.check_of(dataset)
    review = overview.review_of(dataset)
    counted = contents is not None and contents.classes
    found = None if review is None else len(review.suspects)
    return [
        html.link(links.to(f"/data/{dataset.key}"), dataset.name),
        whole(contents.images) if contents is not None and counted else None,
        whole(len(contents.classes)) if contents is not None and counted else None,
        uses_part(dataset, links, most=_LINKS) or None,
        None if check is None else _counted(len(check.problems), "problem"),
        None if found is None else ("not judged" if review and review.refused else _counted(found, "suspect")),
        dataset.path if dataset.is_here else f"{dataset.path} ({where_is(dataset)})",
    ]


def where_is(dataset: DatasetView) -> str:
    """Why a dataset can't be examined on this machine."""
    return "in S3" if dataset.is_remote else "no longer there"


def dataset_link(overview: Overview, path: str | Path, links: Links) -> Markup | str:
    """The path of a dataset as a link to its page, if it is known."""
    whole = whole_path(path)
    known = next((each for each in overview.datasets().value or () if each.path == whole), None)
    return str(path) if known is None else html.link(links.to(f"/data/{known.key}"), path)


def uses_part(dataset: DatasetView, links: Links, *, most: int) -> Markup:
    """Links to the searches, jobs, models and journeys that use a dataset, `most` of each kind."""
    kinds = {
        "search": (dataset.searches, "/searches"),
        "job": (list(dict.fromkeys(use.name for use in dataset.uses if use.kind == "job" and not use.search)), "/jobs"),
        "model": (dataset.named("model"), "/models"),
        "journey": (dataset.named("journey"), "/journeys"),
    }
    parts = []
    for kind, (names, path) in kinds.items():
        if names:
            shown = Markup(", ").join(html.link(links.to(f"{path}/{name}"), name) for name in names[:most])
            more = f" and {len(names) - most:,} more" if len(names) > most else ""
            parts.append(Markup("{} {}{}").format(kind if len(names) == 1 else _plural(kind), shown, more))
    return Markup("; ").join(parts)


def _plural(kind: str) -> str:
    return {"search": "searches"}.get(kind, f"{kind}s")


def _counted(count: int, what: str) -> str:
    return f"no {what}s" if count == 0 else counted(count, what)
